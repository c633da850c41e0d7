package provider

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"

	"github.com/posternhq/postern/provider/internal/client"
)

// failRelease says that what is live cannot be read.
func failRelease(m releaseModel, err error, diags *diag.Diagnostics) {
	diags.AddError(fmt.Sprintf("Cannot read what is live on gateway %q", m.Gateway.ValueString()), explain(err))
}

// failStale says that the plan was made for something else than what is live.
func failStale(m releaseModel, live client.Release, diags *diag.Diagnostics) {
	diags.AddError(fmt.Sprintf("Another release came between the plan and the apply on gateway %q", m.Gateway.ValueString()),
		fmt.Sprintf("It runs %s and goes on doing so. Nothing was released. Plan again to see what this release would replace.", account(live)))
}

// failPublish says why the control plane did not take the release.
func failPublish(m releaseModel, err error, diags *diag.Diagnostics) {
	var refused *client.Error
	if errors.As(err, &refused) && errors.Is(err, client.ErrChanged) {
		var live client.Release
		if refused.Live != nil {
			live = *refused.Live
		}
		failStale(m, live, diags)
		return
	}
	diags.AddAttributeError(path.Root("bundle"), fmt.Sprintf("Cannot release to gateway %q", m.Gateway.ValueString()), explain(err))
}

// failWaiting says that the release is live, but not known to be enforced.
func failWaiting(m releaseModel, err error, diags *diag.Diagnostics) {
	diags.AddError(fmt.Sprintf("Gateway %q does not enforce revision %d yet", m.Gateway.ValueString(), m.Revision.ValueInt64()),
		fmt.Sprintf("%s\n\nThe release is published, and gateways that can will follow it. Until then they enforce what they had. "+
			"Apply again to go on waiting.", explain(err)))
}

// account words who released what and when.
func account(live client.Release) string {
	if live.Bundle == "" {
		return "nothing"
	}
	text := "bundle " + live.Bundle
	if live.Revision > 0 {
		text += fmt.Sprintf(" at revision %d", live.Revision)
	}
	if live.ReleasedBy != "" {
		text += fmt.Sprintf(", released by %q", live.ReleasedBy)
	}
	if at := live.ReleasedAt; !at.IsZero() {
		text += " at " + at.UTC().Format(time.RFC3339)
	}
	if live.Note != "" {
		text += fmt.Sprintf(" (%s)", live.Note)
	}
	return text
}
