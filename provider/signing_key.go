package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang/bundle"
)

// The attributes of a resource that signs. The key is write-only: Terraform
// hands it over from the configuration and keeps it nowhere, so that a version
// beside it has to say when it is another one.
const (
	signingKeyAttribute = "signing_key_wo"
	signingKeyVersion   = "signing_key_wo_version"
)

func signingKeyAttributes() map[string]schema.Attribute {
	return map[string]schema.Attribute{
		signingKeyAttribute: schema.StringAttribute{
			Optional:  true,
			Sensitive: true,
			WriteOnly: true,
			MarkdownDescription: "Private key that signs this, in place of the provider's: from an ephemeral value, such as that of a secret store. " +
				"It is in no plan and no state. Terraform 1.11 or later.",
			Validators: []validator.String{stringvalidator.AlsoRequires(path.MatchRoot(signingKeyVersion))},
		},
		signingKeyVersion: schema.Int64Attribute{
			Optional:            true,
			MarkdownDescription: "Version of `signing_key_wo`: another number signs anew.",
			Validators:          []validator.Int64{int64validator.AlsoRequires(path.MatchRoot(signingKeyAttribute))},
		},
	}
}

// signerOf is the key that signs for a resource: its own, or else the
// provider's. It is nil if there is none, or none is known yet.
func (s *session) signerOf(ctx context.Context, config tfsdk.Config, diags *diag.Diagnostics) *bundle.PrivateKey {
	var text types.String
	diags.Append(config.GetAttribute(ctx, path.Root(signingKeyAttribute), &text)...)
	switch {
	case text.IsUnknown():
		return nil
	case !text.IsNull():
		key, err := bundle.ParsePrivateKey(text.ValueString())
		if err != nil {
			diags.AddAttributeError(path.Root(signingKeyAttribute), "The signing key cannot be read",
				explain(err)+" It is one line, as `postern bundle keygen` makes it.")
			return nil
		}
		return key
	case s == nil:
		return nil
	}
	return s.signer
}

// canSign reports whether there is a key to sign with, and says so if there is
// none.
func canSign(key *bundle.PrivateKey, diags *diag.Diagnostics) bool {
	if key == nil && !diags.HasError() {
		diags.AddError("There is no key to sign with",
			"Publishing needs the private key that gateways trust: set "+envSigningKey+" in the environment, signing_key in the provider's block, or signing_key_wo here.")
	}
	return key != nil
}
