// Package provider is the Terraform provider: policy objects as resources, a
// bundle that compiles and signs them, and a release that makes a gateway run
// it.
//
// Terraform writes resources one by one and in parallel, and removes a rule
// before it updates what refers to it. So nothing but postern_release ever
// touches live traffic. The five objects (gateway, identity, query rule,
// masking policy, approval group) are drafts on the control plane, which no
// gateway reads. postern_bundle takes them as typed maps, compiles the whole at
// plan, and uploads it signed and under its digest. postern_release signs which
// bundle a gateway must run, and waits until the gateways do.
//
// The five objects share one implementation (draft.go), since their attributes
// are those of the policy language: each has a file for its schema alone.
//
// # What a digest depends on
//
// A bundle's digest is computed from its inputs and from nothing else. It is
// known at plan unless an input is unknown, and it is never read back from the
// control plane.
package provider

import (
	"context"
	"os"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/action"
	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/function"
	"github.com/hashicorp/terraform-plugin-framework/list"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/provider/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/posternhq/postern/policylang/bundle"
	"github.com/posternhq/postern/provider/internal/client"
)

// The environment variables that stand in for attributes of the provider that
// are not set.
const (
	envEndpoint   = "POSTERN_ENDPOINT"
	envToken      = "POSTERN_TOKEN"
	envCAFile     = "POSTERN_CA_FILE"
	envSigningKey = "POSTERN_SIGNING_KEY"
)

// New returns a constructor of the provider at the given version.
func New(version string) func() provider.Provider {
	return func() provider.Provider {
		return &posternProvider{version: version, pace: pace{poll: defaultPoll, patience: defaultPatience}}
	}
}

var (
	_ provider.ProviderWithFunctions          = (*posternProvider)(nil)
	_ provider.ProviderWithEphemeralResources = (*posternProvider)(nil)
	_ provider.ProviderWithListResources      = (*posternProvider)(nil)
	_ provider.ProviderWithActions            = (*posternProvider)(nil)
)

type posternProvider struct {
	version string
	pace    pace
}

// Metadata implements provider.Provider.
func (p *posternProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName = "postern"
	resp.Version = p.version
}

// Schema implements provider.Provider.
func (p *posternProvider) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = schema.Schema{
		MarkdownDescription: "Declare who may do what with a PostgreSQL database, and have gateways enforce it.",
		Attributes: map[string]schema.Attribute{
			"endpoint": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "URL of the control plane, such as `https://postern.example.com:8443`. It must be `https`, except on a loopback address. Or set `" + envEndpoint + "`.",
			},
			"token": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				MarkdownDescription: "API token of the control plane, of a role that may write policy: `author`, or `author:NAME` for one gateway alone. Or set `" + envToken + "`.",
			},
			"ca_file": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "PEM file of the certificates to trust the control plane by; the system's unless set. Or set `" + envCAFile + "`.",
			},
			"ca_pem": schema.StringAttribute{
				Optional:            true,
				MarkdownDescription: "The same as `ca_file`, as text.",
				Validators:          []validator.String{stringvalidator.ConflictsWith(path.MatchRoot("ca_file"))},
			},
			"signing_key": schema.StringAttribute{
				Optional:            true,
				Sensitive:           true,
				MarkdownDescription: "Private key that signs bundles and releases, as `postern bundle keygen` makes it. Gateways trust its public key; the control plane never sees it. It is in no plan and no state. A plan needs none. Or set `" + envSigningKey + "`.",
			},
		},
	}
}

type providerModel struct {
	Endpoint   types.String `tfsdk:"endpoint"`
	Token      types.String `tfsdk:"token"`
	CAFile     types.String `tfsdk:"ca_file"`
	CAPEM      types.String `tfsdk:"ca_pem"`
	SigningKey types.String `tfsdk:"signing_key"`
}

// Configure implements provider.Provider. It makes no request: a plan that
// needs nothing of the control plane works without one.
func (p *posternProvider) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var config providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &config)...)
	if resp.Diagnostics.HasError() {
		return
	}
	s := &session{
		client:   p.client(config, &resp.Diagnostics),
		signer:   signer(config.SigningKey, &resp.Diagnostics),
		policies: newPolicyCache(),
		now:      time.Now,
		pace:     p.pace,
	}
	if resp.Diagnostics.HasError() {
		return
	}
	resp.ResourceData, resp.DataSourceData, resp.EphemeralResourceData = s, s, s
	resp.ListResourceData, resp.ActionData = s, s
}

// client returns nil while the configuration is not known yet.
func (p *posternProvider) client(config providerModel, diags *diag.Diagnostics) *client.Client {
	if config.Endpoint.IsUnknown() || config.Token.IsUnknown() || config.CAFile.IsUnknown() || config.CAPEM.IsUnknown() {
		return nil
	}
	c := client.Config{
		Endpoint: orEnv(config.Endpoint, envEndpoint),
		Token:    orEnv(config.Token, envToken),
		Version:  p.version,
	}
	if c.Endpoint == "" {
		diags.AddAttributeError(path.Root("endpoint"), "The control plane's endpoint is missing",
			"Set endpoint in the provider's block, or "+envEndpoint+" in the environment.")
	}
	if c.Token == "" {
		diags.AddAttributeError(path.Root("token"), "The control plane's token is missing",
			"Set "+envToken+" in the environment, or token in the provider's block.")
	}
	c.CA = readCA(config, diags)
	if diags.HasError() {
		return nil
	}
	made, err := client.New(c)
	if err != nil {
		diags.AddAttributeError(path.Root("endpoint"), "The provider is not configured right", err.Error()+".")
		return nil
	}
	return made
}

func readCA(config providerModel, diags *diag.Diagnostics) []byte {
	if pem := config.CAPEM.ValueString(); pem != "" {
		return []byte(pem)
	}
	file := orEnv(config.CAFile, envCAFile)
	if file == "" {
		return nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		diags.AddAttributeError(path.Root("ca_file"), "The control plane's CA cannot be read", err.Error()+".")
		return nil
	}
	return pem
}

// signer reads the signing key. None is needed until something is published.
func signer(value types.String, diags *diag.Diagnostics) *bundle.PrivateKey {
	text := orEnv(value, envSigningKey)
	if text == "" || value.IsUnknown() {
		return nil
	}
	key, err := bundle.ParsePrivateKey(text)
	if err != nil {
		diags.AddAttributeError(path.Root("signing_key"), "The signing key cannot be read",
			explain(err)+" It is one line, as `postern bundle keygen` makes it.")
		return nil
	}
	return key
}

func orEnv(value types.String, name string) string {
	if s := value.ValueString(); s != "" {
		return s
	}
	return os.Getenv(name)
}

// Resources implements provider.Provider.
func (p *posternProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{
		newGatewayResource, newIdentityResource, newQueryRuleResource, newMaskingPolicyResource,
		newApprovalGroupResource, newBundleResource, newReleaseResource,
	}
}

// DataSources implements provider.Provider.
func (p *posternProvider) DataSources(context.Context) []func() datasource.DataSource {
	return []func() datasource.DataSource{newBundleDataSource, newReleaseDataSource, newDecisionDataSource, newGatewaysDataSource}
}

// EphemeralResources implements provider.ProviderWithEphemeralResources.
func (p *posternProvider) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return []func() ephemeral.EphemeralResource{newTokenEphemeralResource, newAPITokenEphemeralResource}
}

// ListResources implements provider.ProviderWithListResources.
func (p *posternProvider) ListResources(context.Context) []func() list.ListResource {
	return listable()
}

// Actions implements provider.ProviderWithActions.
func (p *posternProvider) Actions(context.Context) []func() action.Action {
	return []func() action.Action{newRollbackAction}
}

// Functions implements provider.ProviderWithFunctions.
func (p *posternProvider) Functions(context.Context) []func() function.Function {
	return []func() function.Function{newConditionProblemsFunction, newColumnMatchesFunction}
}
