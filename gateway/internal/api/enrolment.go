package api

import "time"

// EnrolmentPrefix starts every enrolment token.
const EnrolmentPrefix = "pse_"

// How long an enrolment token may wait to be used.
const (
	DefaultEnrolmentLife = time.Hour
	MaxEnrolmentLife     = 7 * 24 * time.Hour
)

// EnrolmentInput is the body of POST /v1/enrolments.
type EnrolmentInput struct {
	Gateway   string `json:"gateway"`
	ExpiresIn string `json:"expires_in,omitempty"` // a Go duration; empty means [DefaultEnrolmentLife]
}

// Enrolment answers POST /v1/enrolments.
type Enrolment struct {
	Token     string    `json:"token"` // the secret, shown this once, good for one gateway
	Gateway   string    `json:"gateway"`
	ExpiresAt time.Time `json:"expires_at"`
}

// EnrolInput is the body of POST /v1/enrol, which a gateway sends with its
// enrolment token. [TokenCreated] answers it: a token of the gateway's own.
type EnrolInput struct {
	Gateway  string `json:"gateway"`
	Instance string `json:"instance"` // what lists of tokens call it, with the gateway's name
}
