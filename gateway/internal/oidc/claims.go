package oidc

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"
)

// readClaims reads a verified payload.
func readClaims(payload []byte) (map[string]any, *Error) {
	var claims map[string]any
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if err := decoder.Decode(&claims); err != nil || claims == nil {
		return nil, refuse(CodeMalformed, "the token's claims are no JSON object")
	}
	for name, value := range claims {
		exact, ok := exactNumbers(value)
		if !ok {
			return nil, refuse(CodeMalformed, "the token has a number that is out of range")
		}
		claims[name] = exact
	}
	return claims, nil
}

// exactNumbers replaces each json.Number by an int64 if it is integral, so
// that two large ids never compare equal by rounding, else by a float64.
func exactNumbers(value any) (any, bool) {
	switch value := value.(type) {
	case json.Number:
		if n, err := value.Int64(); err == nil {
			return n, true
		}
		f, err := value.Float64()
		return f, err == nil
	case []any:
		for i := range value {
			exact, ok := exactNumbers(value[i])
			if !ok {
				return nil, false
			}
			value[i] = exact
		}
	case map[string]any:
		for name := range value {
			exact, ok := exactNumbers(value[name])
			if !ok {
				return nil, false
			}
			value[name] = exact
		}
	}
	return value, true
}

// expectation is what a token must say to be accepted. Claims are looked up by
// their exact names: go-oidc's own reading also takes "AUD" for "aud".
type expectation struct {
	issuer      string
	audiences   []string
	now         time.Time
	maxLifetime time.Duration
}

func (e expectation) check(claims map[string]any) *Error {
	if issuer, _ := claims["iss"].(string); issuer != e.issuer {
		return refuse(CodeUnknownIssuer, "the token's issuer is not %q", e.issuer)
	}
	if err := e.checkAudience(claims); err != nil {
		return err
	}
	if _, event := claims["events"]; event {
		return refuse(CodeTokenType, "the token is a security event, such as a logout token")
	}
	if _, bound := claims["cnf"]; bound { // RFC 9449, section 7.2: such a token is not taken as a bearer
		return refuse(CodeTokenType, "the token of %q is bound to a key (cnf, RFC 7800), and a password does not prove that its sender has that", e.issuer)
	}
	if subject, _ := claims["sub"].(string); subject == "" {
		return refuse(CodeMalformed, "the token has no subject")
	}
	if id, present := claims["jti"]; present {
		if _, ok := id.(string); !ok {
			return refuse(CodeMalformed, "the token's id is not a string")
		}
	}
	return e.checkTimes(claims)
}

func (e expectation) checkAudience(claims map[string]any) *Error {
	named, ok := stringOrList(claims["aud"])
	if !ok || len(named) == 0 {
		return refuse(CodeAudience, "the token of %q has no audience, want %q", e.issuer, e.audiences)
	}
	i := slices.IndexFunc(named, func(a string) bool { return slices.Contains(e.audiences, a) })
	if i < 0 {
		return refuse(CodeAudience, "the token of %q is for %.200q, want %q", e.issuer, named, e.audiences)
	}
	if len(named) == 1 {
		return nil
	}
	if party, _ := claims["azp"].(string); !slices.Contains(e.audiences, party) {
		return refuse(CodeAuthorizedParty, "the token of %q has %d audiences and its azp is not %q", e.issuer, len(named), named[i])
	}
	return nil
}

func (e expectation) checkTimes(claims map[string]any) *Error {
	issued, ok := numericDate(claims["iat"])
	if !ok {
		return refuse(CodeMalformed, "the token of %q does not say when it was issued (iat)", e.issuer)
	}
	expires, ok := numericDate(claims["exp"])
	if !ok {
		return refuse(CodeMalformed, "the token of %q does not say when it expires (exp)", e.issuer)
	}
	if !e.now.Before(expires.Add(Leeway)) {
		return refuse(CodeExpired, "the token of %q expired at %s", e.issuer, stamp(expires))
	}
	if issued.After(e.now.Add(Leeway)) {
		return refuse(CodeNotYetValid, "the token of %q was issued in the future (iat), at %s; compare the clocks", e.issuer, stamp(issued))
	}
	if start, present := claims["nbf"]; present {
		from, ok := numericDate(start)
		if !ok {
			return refuse(CodeMalformed, "the token of %q has an unreadable nbf", e.issuer)
		}
		if from.After(e.now.Add(Leeway)) {
			return refuse(CodeNotYetValid, "the token of %q is valid from %s on (nbf)", e.issuer, stamp(from))
		}
	}
	if lifetime := expires.Sub(issued); lifetime > e.maxLifetime {
		return refuse(CodeLifetime, "the token of %q lives %s, at most %s is accepted", e.issuer, lifetime, e.maxLifetime)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// maxNumericDate is the end of the year 9999, beyond which no date is meant.
const maxNumericDate = 253402300799

// numericDate reads RFC 7519's NumericDate, as readClaims leaves it.
func numericDate(claim any) (time.Time, bool) {
	switch n := claim.(type) {
	case int64:
		if n >= 0 && n <= maxNumericDate {
			return time.Unix(n, 0), true
		}
	case float64:
		if n >= 0 && n <= maxNumericDate {
			return time.UnixMilli(int64(n * 1000)), true
		}
	}
	return time.Time{}, false
}

// stringOrList reads a claim that is a string or a list of strings.
func stringOrList(claim any) ([]string, bool) {
	switch claim := claim.(type) {
	case string:
		return []string{claim}, true
	case []any:
		list := make([]string, 0, len(claim))
		for _, item := range claim {
			s, ok := item.(string)
			if !ok {
				return nil, false
			}
			list = append(list, s)
		}
		return list, true
	}
	return nil, false
}
