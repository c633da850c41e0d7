package provider

import (
	"time"

	"github.com/hashicorp/terraform-plugin-framework/provider"
)

// NewImpatient is New with another pace of waiting for gateways.
func NewImpatient(version string, poll, patience time.Duration) func() provider.Provider {
	return func() provider.Provider {
		return &posternProvider{version: version, pace: pace{poll: poll, patience: patience}}
	}
}
