package relay

import (
	"fmt"
	"strings"

	"github.com/jackc/pgproto3/v2"

	"github.com/posternhq/postern/gateway/internal/refusal"
)

// notice passes a NoticeResponse on, but for a statement that may print
// protected values.
func (u *upstreamLoop) notice(p piece) error {
	if e := u.queue.first(); e != nil && (e.hidden || e.silenced || (e.permit != nil && e.permit.Tainted)) {
		return nil
	}
	u.pass(p)
	return nil
}

// notification passes a NotificationResponse on, without its payload if the
// guard says so.
func (u *upstreamLoop) notification(p piece) error {
	if u.cfg.Guard.Payloads() {
		u.pass(p)
		return nil
	}
	var msg pgproto3.NotificationResponse
	if err := msg.Decode(p.body()); err != nil {
		return fmt.Errorf("read a NotificationResponse: %w", err)
	}
	msg.Payload = ""
	b, err := msg.Encode(nil)
	if err != nil {
		return fmt.Errorf("write a NotificationResponse: %w", err)
	}
	u.replace(b)
	return nil
}

// parameterStatus ends the session if the server no longer is who the guard
// thinks, or reads text in another way than the guard does.
func (u *upstreamLoop) parameterStatus(p piece) error {
	var msg pgproto3.ParameterStatus
	if err := msg.Decode(p.body()); err != nil {
		return fmt.Errorf("read a ParameterStatus: %w", err)
	}
	switch {
	case msg.Name == "client_encoding" && msg.Value != "UTF8",
		msg.Name == "standard_conforming_strings" && msg.Value != "on":
		return refusal.New(refusal.SettingRefused, "the parameter %s must not change through the gateway", msg.Name)
	case msg.Name == "session_authorization", msg.Name == "is_superuser":
		return refusal.New(refusal.SettingRefused, "the session's user changed")
	}
	if strings.HasPrefix(msg.Name, "postern.") {
		return nil
	}
	u.pass(p)
	return nil
}
