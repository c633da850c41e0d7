package provider

import (
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringdefault"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang"
)

func newGatewayResource() resource.Resource { return newGateway() }

func newGateway() *draft {
	return &draft{
		kind: policylang.KindGateway,
		description: "A gateway: where its PostgreSQL is, whose tokens it accepts, and what becomes of a statement that no rule mentions. " +
			"It takes effect through a `postern_bundle` and a `postern_release`.",
		attributes: gatewayAttributes(),
	}
}

func gatewayAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		"default_effect": schema.StringAttribute{
			Optional:            true,
			Computed:            true,
			Default:             stringdefault.StaticString(string(policylang.EffectDeny)),
			MarkdownDescription: "What becomes of a statement that no rule matches: `deny` (unless set) or `allow`.",
		},
		"unparsed": schema.StringAttribute{
			Optional:            true,
			Computed:            true,
			Default:             stringdefault.StaticString("deny"),
			MarkdownDescription: "What becomes of SQL that the parser cannot read: `deny` (unless set) or `allow`.",
		},
		"upstream": schema.SingleNestedAttribute{
			Required:            true,
			MarkdownDescription: "The PostgreSQL server behind the gateway.",
			Attributes: map[string]schema.Attribute{
				"host": schema.StringAttribute{
					Required:            true,
					MarkdownDescription: "Host name, address, or directory of a Unix socket.",
				},
				"port": schema.Int64Attribute{
					Optional:            true,
					MarkdownDescription: "Port; `5432` unless set.",
					Validators:          []validator.Int64{int64validator.Between(1, 65535)},
				},
				"fallback_hosts": schema.ListAttribute{
					Optional:    true,
					ElementType: types.StringType,
					MarkdownDescription: "Further servers of the same cluster, as `db2.internal` or `db2.internal:5433`, which are asked in this order where the first cannot be reached or will not do: " +
						"physical replicas, of which one may be promoted.",
				},
				"target_session_attrs": schema.StringAttribute{
					Optional: true,
					MarkdownDescription: "Which of the servers will do, as libpq's parameter of that name: `primary` (unless set), `standby`, `prefer-standby`, `read-write`, `read-only` or `any`. " +
						"Without `fallback_hosts`, any.",
				},
				"tls": schema.StringAttribute{
					Optional:            true,
					MarkdownDescription: "`verify-full` (unless set), `verify-ca`, `require` or `disable`.",
				},
				"ca": schema.StringAttribute{
					Optional:            true,
					MarkdownDescription: "PEM file on the gateway's host with the certificates to trust the server by; the system's unless set.",
				},
				"credentials": schema.StringAttribute{
					Optional:            true,
					MarkdownDescription: "Where the gateway finds the password: `env:NAME`, `file:/path` or `vault:path`. Never the secret itself.",
				},
				"login": schema.StringAttribute{
					Optional: true,
					MarkdownDescription: "How the gateway logs in as an identity's role: `certificate` (unless set), with a certificate that it makes for each session; `scram`, by SCRAM-SHA-256 alone, bound to the TLS connection; " +
						"`password`, by whatever the server asks for, which is the default where `credentials` are set or `tls` is `disable`.",
				},
				"session_table": schema.BoolAttribute{
					Optional:            true,
					MarkdownDescription: "Whether the gateway tells the database who is behind each connection, which `postern.identity()` then gives: for roles that several people share.",
				},
				"catalog_role": schema.StringAttribute{
					Optional:            true,
					MarkdownDescription: "Role that reads the catalog; `postern` unless set.",
				},
			},
		},
		"issuer": schema.MapNestedAttribute{
			Optional:            true,
			MarkdownDescription: "OpenID Connect issuers whose tokens the gateway accepts, keyed by a name for people.",
			NestedObject: schema.NestedAttributeObject{
				// Both are needed, and found missing by ValidateConfig: the framework
				// takes what is required within an unknown object for missing.
				Attributes: map[string]schema.Attribute{
					"url": schema.StringAttribute{
						Optional:            true,
						MarkdownDescription: "The issuer, exactly as tokens have it in `iss`. It must be set.",
					},
					"audience": schema.StringAttribute{
						Optional:            true,
						MarkdownDescription: "What tokens must have in `aud`. It must be set.",
					},
					"saml_metadata": schema.StringAttribute{
						Optional: true,
						MarkdownDescription: "Metadata of a SAML 2.0 identity provider, as XML: `file(\"idp.xml\")`. People sign in there by way of the control plane; " +
							"`url` is its `entityID`, `audience` what its assertions are for.",
					},
				},
			},
		},
	}
}
