package provider

import (
	"context"
	"strings"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/list/schema"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
	"github.com/posternhq/postern/provider/internal/client"
	"github.com/posternhq/postern/provider/internal/tfmodel"
)

// What the control plane has can be listed (terraform query, from Terraform 1.14
// on) and then imported: drafts with all of their attributes, bundles and
// releases by their identities.

var (
	_ list.ListResourceWithConfigure = (*draft)(nil)
	_ list.ListResourceWithConfigure = (*bundleResource)(nil)
	_ list.ListResourceWithConfigure = (*releaseResource)(nil)
)

// ListResourceConfigSchema implements list.ListResource.
func (d *draft) ListResourceConfigSchema(_ context.Context, _ list.ListResourceSchemaRequest, resp *list.ListResourceSchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "The drafts of this kind that the control plane has.",
		Attributes: map[string]schema.Attribute{
			"name_prefix": schema.StringAttribute{Optional: true, MarkdownDescription: "Only those whose names begin so."},
		},
	}
}

// List implements list.ListResource.
func (d *draft) List(ctx context.Context, req list.ListRequest, stream *list.ListResultsStream) {
	var prefix types.String
	diags := req.Config.GetAttribute(ctx, path.Root("name_prefix"), &prefix)
	var objects []client.Object
	if d.session.connected(&diags) {
		var err error
		if objects, err = d.session.client.Objects(ctx, string(d.kind)); err != nil {
			diags.AddError("Cannot list objects of kind "+string(d.kind), explain(err))
		}
	}
	if diags.HasError() {
		stream.Results = list.ListResultsStreamDiagnostics(diags)
		return
	}
	stream.Results = func(push func(list.ListResult) bool) {
		found := int64(0)
		for _, o := range objects {
			if !strings.HasPrefix(o.Name, prefix.ValueString()) {
				continue
			}
			if found++; found > req.Limit || !push(d.result(ctx, req, o)) {
				return
			}
		}
	}
}

func (d *draft) result(ctx context.Context, req list.ListRequest, stored client.Object) list.ListResult {
	result := req.NewListResult(ctx)
	result.DisplayName = stored.Name
	setIdentity(ctx, result.Identity, "name", stored.Name, &result.Diagnostics)
	if !req.IncludeResource {
		return result
	}
	object, err := stored.Parse()
	var values map[string]attr.Value
	if err == nil {
		values, err = tfmodel.Read(object, modelOf(d.attributes), nil)
	}
	if err != nil {
		d.fail("read", stored.Name, err, &result.Diagnostics)
		return result
	}
	values["name"] = types.StringValue(stored.Name)
	values["definition"], values["digest"] = describe(object, &result.Diagnostics)
	kinds := make(map[string]attr.Type, len(values))
	for name, value := range values {
		kinds[name] = value.Type(ctx)
	}
	whole, found := types.ObjectValue(kinds, values)
	result.Diagnostics.Append(found...)
	result.Diagnostics.Append(result.Resource.Set(ctx, whole)...)
	return result
}

// ListResourceConfigSchema implements list.ListResource.
func (r *bundleResource) ListResourceConfigSchema(_ context.Context, _ list.ListResourceSchemaRequest, resp *list.ListResourceSchemaResponse) {
	resp.Schema = schema.Schema{MarkdownDescription: "The bundles that the control plane has, newest first."}
}

// List implements list.ListResource.
func (r *bundleResource) List(ctx context.Context, req list.ListRequest, stream *list.ListResultsStream) {
	r.session.list(ctx, req, stream, "digest", func(c *client.Client) ([]string, error) { return c.Bundles(ctx) })
}

// ListResourceConfigSchema implements list.ListResource.
func (r *releaseResource) ListResourceConfigSchema(_ context.Context, _ list.ListResourceSchemaRequest, resp *list.ListResourceSchemaResponse) {
	resp.Schema = schema.Schema{MarkdownDescription: "The gateways that something was released to."}
}

// List implements list.ListResource.
func (r *releaseResource) List(ctx context.Context, req list.ListRequest, stream *list.ListResultsStream) {
	r.session.list(ctx, req, stream, "gateway", func(c *client.Client) ([]string, error) {
		names, err := c.Gateways(ctx)
		var released []string
		for _, name := range names {
			_, exists, liveErr := r.session.live(ctx, name)
			if liveErr != nil {
				return nil, liveErr
			}
			if exists {
				released = append(released, name)
			}
		}
		return released, err
	})
}

// list lists what has nothing but an identity until it is read.
func (s *session) list(ctx context.Context, req list.ListRequest, stream *list.ListResultsStream, attribute string,
	names func(*client.Client) ([]string, error),
) {
	var diags diag.Diagnostics
	var found []string
	if s.connected(&diags) {
		var err error
		if found, err = names(s.client); err != nil {
			diags.AddError("Cannot list what the control plane has", explain(err))
		}
	}
	if diags.HasError() {
		stream.Results = list.ListResultsStreamDiagnostics(diags)
		return
	}
	stream.Results = func(push func(list.ListResult) bool) {
		for i, name := range found {
			if int64(i) >= req.Limit {
				return
			}
			result := req.NewListResult(ctx)
			result.DisplayName = name
			setIdentity(ctx, result.Identity, attribute, name, &result.Diagnostics)
			if !push(result) {
				return
			}
		}
	}
}

// listable are the resources that can be listed.
func listable() []func() list.ListResource {
	kinds := policylang.Kinds()
	out := make([]func() list.ListResource, 0, len(kinds)+2)
	for _, made := range []func() *draft{newGateway, newIdentity, newQueryRule, newMaskingPolicy, newApprovalGroup} {
		out = append(out, func() list.ListResource { return made() })
	}
	return append(out,
		func() list.ListResource { return &bundleResource{} },
		func() list.ListResource { return &releaseResource{} })
}
