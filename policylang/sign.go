package policylang

// Signs that a credential is used by another than its owner, as [Session] has
// them. They prove nothing: rules judge them.
const (
	SignSharedToken     = "shared_token"      // one token, used from two addresses
	SignHumanFromCI     = "human_from_ci"     // a person's, from a network of jobs
	SignHumanAsJob      = "human_as_job"      // a person's, by a program that jobs run
	SignServiceAsPerson = "service_as_person" // a service's, by a program that people use
)

// Signs returns every sign.
func Signs() []string {
	return []string{SignSharedToken, SignHumanFromCI, SignHumanAsJob, SignServiceAsPerson}
}
