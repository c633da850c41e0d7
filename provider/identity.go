package provider

import (
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
)

func newIdentityResource() resource.Resource { return newIdentity() }

func newIdentity() *draft {
	return &draft{
		kind: policylang.KindIdentity,
		description: "An identity: which verified tokens belong to whom. With `name_from`, one identity covers many people. " +
			"A token that two identities match is refused. It takes effect through a `postern_bundle` and a `postern_release`.",
		attributes: identityAttributes(),
	}
}

func identityAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"kind": schema.StringAttribute{
			Required:            true,
			MarkdownDescription: "`human`, `service` or `agent`.",
		},
		"when": schema.StringAttribute{
			Required:            true,
			MarkdownDescription: "Condition (CEL) over `token`, the verified claims. Compare the issuer and the subject, never an e-mail address alone.",
		},
		"groups": schema.SetAttribute{
			ElementType:         types.StringType,
			Optional:            true,
			MarkdownDescription: "Groups that it is in.",
		},
		"name_from": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "Expression (CEL) over `token` that gives the subject's name; the identity's own name unless set.",
		},
		"groups_from": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "Expression (CEL) over `token` that gives a list of further groups.",
		},
		"database_role": schema.StringAttribute{
			Optional:            true,
			MarkdownDescription: "PostgreSQL role that it uses; the subject's name unless set.",
		},
	}
}
