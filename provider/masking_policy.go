package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
)

func newMaskingPolicyResource() resource.Resource { return newMaskingPolicy() }

func newMaskingPolicy() *draft {
	return &draft{
		kind: policylang.KindMaskingPolicy,
		description: "A masking policy: columns whose values are masked for everybody but those for whom `unless` is true, wherever in a result they appear. " +
			"It takes effect through a `postern_bundle` and a `postern_release`.",
		attributes: maskingPolicyAttributes(),
	}
}

func maskingPolicyAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"columns": schema.SetAttribute{
			ElementType:         types.StringType,
			Required:            true,
			MarkdownDescription: "Columns as `schema.table.column`, where `*` stands for any run of characters in a part, as in `*.*.ssn`.",
		},
		"detect": schema.SetAttribute{
			ElementType: types.StringType,
			Optional:    true,
			MarkdownDescription: "Kinds of values that are masked in texts of all columns that no masking policy names, by what they look like: `card`, `email`, `iban`, `phone`, `ssn`. " +
				"A second net that promises nothing. With it, `columns` may be empty.",
		},
		"transform": schema.StringAttribute{
			Required: true,
			MarkdownDescription: "How a value is changed: `null`, `redact`, `hash`, `token`, `truncate` (dates), `round` (numbers) or `partial`. " +
				"Where several policies mask one column, the strictest wins; that is their order here.",
		},
		"unless": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "Condition (CEL) over `identity`, `session` and `now`: for whom the values are not masked. Nobody unless set.",
		},
		"mode": modeAttribute(),
		"keep_first": schema.Int64Attribute{
			Optional:            true,
			MarkdownDescription: "For `partial`: characters kept at the start.",
		},
		"keep_last": schema.Int64Attribute{
			Optional:            true,
			MarkdownDescription: "For `partial`: characters kept at the end.",
		},
		"format": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "For `partial` and `token`: `text` (unless set), `email`, `card` or `phone`.",
		},
		"unit": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "For `truncate`: `year`, `month` (unless set), `day` or `hour`.",
		},
		"digits": schema.Int64Attribute{
			Optional:            true,
			MarkdownDescription: "For `round`: digits kept right of the point or, negative, zeroed left of it.",
		},
		"predicates": knobAttribute("Whether masked columns may stand in conditions: `deny` (unless set), `equality` (with a constant, counted and recorded) or `allow`, " +
			"by which values can be found out."),
		"order":    knobAttribute("Whether masked columns may order rows: `deny` (unless set) or `allow`."),
		"group":    knobAttribute("Whether masked columns may group rows or remove duplicates: `deny` (unless set) or `allow`."),
		"counting": knobAttribute("Whether masked columns may be counted (`count` in policy files): `deny` (unless set) or `allow`."),
	}
}

func knobAttribute(description string) schema.Attribute {
	return schema.StringAttribute{
		Optional:            true,
		Computed:            true,
		Default:             stringdefault.StaticString(string(policylang.KnobDeny)),
		MarkdownDescription: description,
	}
}
