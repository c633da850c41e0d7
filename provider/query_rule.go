package provider

import (
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"

	"github.com/posternhq/postern/policylang"
)

func newQueryRuleResource() resource.Resource { return newQueryRule() }

func newQueryRule() *draft {
	return &draft{
		kind: policylang.KindQueryRule,
		description: "A query rule: decides about statements. The order of rules never matters: a matching `deny` wins over `hold`, `hold` over `allow`, " +
			"and matching `limit` rules combine to the strictest. It takes effect through a `postern_bundle` and a `postern_release`.",
		attributes: queryRuleAttributes(),
	}
}

func queryRuleAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"when": schema.StringAttribute{
			Required:            true,
			MarkdownDescription: "Condition (CEL) over `identity`, `session`, `statement` and `now`. For all statements, write `true`.",
		},
		"effect": schema.StringAttribute{
			Required:            true,
			MarkdownDescription: "`allow`, `deny`, `hold` (until approved) or `limit` (grants nothing, narrows what others grant).",
		},
		"mode": modeAttribute(),
		"message": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "Shown to the client when the rule denies or holds.",
		},
		"approval_group": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "For `hold`: the approval group that must approve.",
		},
		"hold_mode": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "For `hold`: `wait` (unless set) keeps the statement until it is decided; `retry` refuses it, and admits it once approved.",
		},
		"max_rows": schema.Int64Attribute{
			Optional:            true,
			MarkdownDescription: "For `limit`: most rows that a statement may return.",
			Validators:          []validator.Int64{int64validator.AtLeast(1)},
		},
		"statement_timeout": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "For `limit`: longest time that a statement may run, such as `30s`.",
		},
		"read_only": schema.BoolAttribute{
			Optional:            true,
			MarkdownDescription: "For `limit`: whether statements run in a read-only transaction.",
		},
		"require_reason": schema.BoolAttribute{
			Optional:            true,
			MarkdownDescription: "For `limit`: whether the client must have given a reason.",
		},
	}
}

func modeAttribute() schema.Attribute {
	return schema.StringAttribute{
		Optional:            true,
		Computed:            true,
		Default:             stringdefault.StaticString(string(policylang.ModeEnforce)),
		MarkdownDescription: "`enforce` (unless set), or `observe`: record what would have happened and change nothing.",
	}
}
