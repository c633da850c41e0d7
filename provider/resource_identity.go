package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// identitySchema is a resource's identity, by which it is imported and listed:
// one string that the control plane knows it by. Terraform 1.12 or later asks
// for it.
func identitySchema(attribute, description string) identityschema.Schema {
	return identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		attribute: identityschema.StringAttribute{RequiredForImport: true, Description: description},
	}}
}

func setIdentity(ctx context.Context, identity *tfsdk.ResourceIdentity, attribute, value string, diags *diag.Diagnostics) {
	if identity != nil {
		diags.Append(identity.SetAttribute(ctx, path.Root(attribute), value)...)
	}
}

// setDigestIdentity is setIdentity for the state of a bundle.
func setDigestIdentity(ctx context.Context, identity *tfsdk.ResourceIdentity, state types.Object, diags *diag.Diagnostics) {
	if digest, ok := state.Attributes()["digest"].(types.String); ok {
		setIdentity(ctx, identity, "digest", digest.ValueString(), diags)
	}
}
