package provider

import (
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/int64default"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
)

func newApprovalGroupResource() resource.Resource { return newApprovalGroup() }

func newApprovalGroup() *draft {
	return &draft{
		kind: policylang.KindApprovalGroup,
		description: "An approval group: who may approve statements that rules hold. Nobody approves a statement of their own. " +
			"It takes effect through a `postern_bundle` and a `postern_release`.",
		attributes: approvalGroupAttributes(),
	}
}

func approvalGroupAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"members": schema.SetAttribute{
			ElementType:         types.StringType,
			Required:            true,
			MarkdownDescription: "Names of the subjects that may approve.",
		},
		"required": schema.Int64Attribute{
			Optional:            true,
			Computed:            true,
			Default:             int64default.StaticInt64(1),
			MarkdownDescription: "How many distinct members must approve; `1` unless set.",
			Validators:          []validator.Int64{int64validator.AtLeast(1)},
		},
		"expires_in": schema.StringAttribute{
			Optional:            true,
			Computed:            true,
			Default:             stringdefault.StaticString("15m"),
			MarkdownDescription: "How long a held statement waits before it is refused; `15m` unless set.",
		},
	}
}
