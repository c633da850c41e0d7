package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/client"
)

// include adds the objects of other bundles to the inputs. Each bundle owns a
// namespace, so that states which are applied by different people compose
// without ever meaning the same object.
func (r *bundleResource) include(ctx context.Context, value attr.Value, in *inputs, diags *diag.Diagnostics) {
	includes, ok := value.(types.Map)
	if !ok || includes.IsUnknown() {
		in.known = false
		return
	}
	digests := includes.Elements()
	namespaces := slices.Sorted(maps.Keys(digests))
	checkNamespaces(namespaces, in.policy, diags)
	for _, namespace := range namespaces {
		digest, ok := digests[namespace].(types.String)
		if !ok || digest.IsUnknown() || r.session == nil || r.session.client == nil {
			in.known = false
			continue
		}
		fragment, err := r.session.policy(ctx, digest.ValueString())
		if err != nil {
			in.known = false
			failInclude(namespace, digest.ValueString(), err, diags)
			continue
		}
		for _, o := range fragment.Objects() {
			if !within(o.ObjectName(), namespace) {
				refuseInclude(fmt.Sprintf("Bundle %q reaches out of its namespace", namespace), fmt.Sprintf(
					"It has %s, which is not named within %q. Its owner has to rename it.", named(o), namespace), diags)
			}
			in.policy.Add(o)
		}
	}
}

// checkNamespaces refuses namespaces of which one is within another, and own
// objects that are within one.
func checkNamespaces(namespaces []string, own policylang.Policy, diags *diag.Diagnostics) {
	for i, namespace := range namespaces {
		for _, other := range namespaces[i+1:] {
			if within(other, namespace) {
				refuseInclude("Namespaces overlap", fmt.Sprintf("%q is within %q. Each bundle owns a namespace of its own.", other, namespace), diags)
			}
		}
		for _, o := range own.Objects() {
			if within(o.ObjectName(), namespace) {
				refuseInclude("Namespaces overlap", fmt.Sprintf(
					"This bundle has %s, which is named within %q. That namespace is the included bundle's.", named(o), namespace), diags)
			}
		}
	}
}

func within(name, namespace string) bool { return strings.HasPrefix(name, namespace+".") }

func named(o policylang.Object) string {
	return fmt.Sprintf("%s %q", words(o.ObjectKind()), o.ObjectName())
}

func failInclude(namespace, digest string, err error, diags *diag.Diagnostics) {
	detail := explain(err)
	if errors.Is(err, client.ErrNotFound) {
		detail = "The control plane has no bundle " + digest + ". Apply the state that uploads it first."
	}
	refuseInclude(fmt.Sprintf("Bundle %q cannot be included", namespace), detail, diags)
}

func refuseInclude(summary, detail string, diags *diag.Diagnostics) {
	diags.AddAttributeError(path.Root("includes"), summary, detail)
}
