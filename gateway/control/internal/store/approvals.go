package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/posternhq/postern/gateway/internal/api"
)

const approvalColumns = "id, gateway, status, held, requested_at, expires_at, decided_at"

// scanApproval scans an approval as of now: what is past its expiry is
// expired, be it a request that nobody decided or a grant that nobody used.
func scanApproval(now time.Time) func(row scanner) (api.Approval, error) {
	return func(row scanner) (api.Approval, error) {
		var a api.Approval
		var held string
		var requested, expires, decided int64
		if err := row.Scan(&a.ID, &a.Gateway, &a.Status, &held, &requested, &expires, &decided); err != nil {
			return api.Approval{}, notFound(err)
		}
		if err := json.Unmarshal([]byte(held), &a.Held); err != nil {
			return api.Approval{}, fmt.Errorf("read approval: %w", err)
		}
		a.RequestedAt, a.ExpiresAt, a.DecidedAt = fromMicros(requested), fromMicros(expires), optional(decided)
		a.Votes = []api.Vote{}
		open := a.Status == api.StatusPending || a.Status == api.StatusApproved && a.Mode == api.ModeRetry
		if open && !now.Before(a.ExpiresAt) {
			a.Status = api.StatusExpired
		}
		return a, nil
	}
}

func scanVote(row scanner) (api.Vote, error) {
	var v api.Vote
	var at int64
	err := row.Scan(&v.Approver, &v.Verdict, &v.Reason, &at)
	v.At = fromMicros(at)
	return v, err
}

// Approval returns an approval with its votes, or ErrNotFound.
func (s *Store) Approval(ctx context.Context, id string, now time.Time) (api.Approval, error) {
	return approval(ctx, s.r, id, now)
}

func approval(ctx context.Context, q querier, id string, now time.Time) (api.Approval, error) {
	a, err := scanApproval(now)(q.QueryRowContext(ctx, "SELECT "+approvalColumns+" FROM approvals WHERE id = $1", id))
	if err != nil {
		return api.Approval{}, err
	}
	a.Votes, err = collect(ctx, q, scanVote, "SELECT approver, verdict, reason, voted_at FROM votes WHERE approval = $1 ORDER BY voted_at, approver", id)
	return a, err
}

// Approvals returns the approvals for which keep is true, newest first, at
// most limit of them.
func (s *Store) Approvals(ctx context.Context, limit int, now time.Time, keep func(*api.Approval) bool) ([]api.Approval, error) {
	rows, err := s.r.QueryContext(ctx, "SELECT "+approvalColumns+" FROM approvals ORDER BY requested_at DESC, id")
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	out, scan := []api.Approval{}, scanApproval(now)
	for len(out) < limit && rows.Next() {
		a, err := scan(rows)
		if err != nil {
			return nil, err
		}
		if keep(&a) {
			out = append(out, a)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for i := range out {
		if out[i], err = approval(ctx, s.r, out[i].ID, now); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// AddApproval stores a new pending approval and returns it; or the one that
// the same nonce made before; or, for a retry, the one with the same binding
// that is still pending or granted.
func (s *Store) AddApproval(ctx context.Context, a api.Approval, nonce string, now time.Time, before func() error) (stored api.Approval, created bool, err error) {
	held, err := json.Marshal(a.Held)
	if err != nil {
		return api.Approval{}, false, fmt.Errorf("write approval: %w", err)
	}
	err = s.write(ctx, func(tx *sql.Tx, _ int64) error {
		stored, err = sameApproval(ctx, tx, a, nonce, now)
		if !errors.Is(err, ErrNotFound) {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO approvals ("+approvalColumns+", nonce, mode, binding, used_by) VALUES ($1, $2, $3, $4, $5, $6, 0, $7, $8, $9, '')",
			a.ID, a.Gateway, string(api.StatusPending), string(held), micros(a.RequestedAt), micros(a.ExpiresAt), nonce, a.Mode, a.Binding)
		if err := then(err, before); err != nil {
			return err
		}
		stored, created = a, true
		stored.Status, stored.Votes = api.StatusPending, []api.Vote{}
		return nil
	})
	return stored, created && err == nil, err
}

func sameApproval(ctx context.Context, tx *sql.Tx, a api.Approval, nonce string, now time.Time) (api.Approval, error) {
	var id string
	err := tx.QueryRowContext(ctx, "SELECT id FROM approvals WHERE gateway = $1 AND nonce = $2", a.Gateway, nonce).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) && a.Mode == api.ModeRetry {
		err = tx.QueryRowContext(ctx, "SELECT id FROM approvals WHERE gateway = $1 AND binding = $2 AND mode = $3 AND expires_at > $4 "+
			"AND status IN ($5, $6) ORDER BY requested_at DESC LIMIT 1",
			a.Gateway, a.Binding, api.ModeRetry, micros(now), string(api.StatusPending), string(api.StatusApproved)).Scan(&id)
	}
	if err != nil {
		return api.Approval{}, notFound(err)
	}
	return approval(ctx, tx, id, now)
}

// Voter is who votes: a name, and the issuer's name for the same person, so
// that one person with two names votes once.
type Voter struct {
	Name    string
	Subject string
}

// Vote records a vote and, if it decides the approval, the outcome: one
// refusal refuses; each group's required number of members approves, which
// also starts the time in which a retry must use it. The error is ErrDecided
// if the approval is no longer pending, ErrExists if the voter has said
// otherwise before; to repeat a vote changes nothing. Who may vote is the
// caller's to check. before sees the approval as it will be.
func (s *Store) Vote(ctx context.Context, id string, voter Voter, v api.Vote, now time.Time, before func(api.Approval) error) (a api.Approval, err error) {
	err = s.write(ctx, func(tx *sql.Tx, _ int64) error {
		a, err = approval(ctx, tx, id, now)
		if err != nil {
			return err
		}
		var verdict string
		err = tx.QueryRowContext(ctx, "SELECT verdict FROM votes WHERE approval = $1 AND (approver = $2 OR subject = $3)", id, voter.Name, voter.Subject).Scan(&verdict)
		switch {
		case err == nil && verdict == v.Verdict:
			return nil
		case err == nil && a.Status == api.StatusPending:
			return ErrExists
		case err != nil && !errors.Is(err, sql.ErrNoRows):
			return err
		}
		if a.Status != api.StatusPending {
			return ErrDecided
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO votes (approval, approver, subject, verdict, reason, voted_at) VALUES ($1, $2, $3, $4, $5, $6)",
			id, voter.Name, voter.Subject, v.Verdict, v.Reason, micros(now))
		if err != nil {
			return err
		}
		a.Votes = append(a.Votes, api.Vote{Approver: voter.Name, Verdict: v.Verdict, Reason: v.Reason, At: now})
		if err := decide(ctx, tx, &a, now); err != nil {
			return err
		}
		return before(a)
	})
	return a, err
}

// decide ends a pending approval if its votes do.
func decide(ctx context.Context, tx *sql.Tx, a *api.Approval, now time.Time) error {
	var approvers []string
	var status api.ApprovalStatus
	refused := false
	for _, v := range a.Votes {
		refused = refused || v.Verdict == api.VerdictRefuse
		approvers = append(approvers, v.Approver)
	}
	switch {
	case refused:
		status = api.StatusRefused
	case api.Approved(a.Groups, a.Requester, approvers):
		status = api.StatusApproved
	default:
		return nil
	}
	if status == api.StatusApproved && a.Mode == api.ModeRetry {
		a.ExpiresAt = now.Add(a.ExpiresAt.Sub(a.RequestedAt))
	}
	a.Status, a.DecidedAt = status, &now
	_, err := tx.ExecContext(ctx, "UPDATE approvals SET status = $2, decided_at = $3, expires_at = $4 WHERE id = $1",
		a.ID, string(status), micros(now), micros(a.ExpiresAt))
	return err
}

// Withdraw ends an approval that is pending, or granted and not used. The
// error is ErrNotFound if the gateway has no such approval, ErrDecided if it
// is past withdrawing; withdrawn already is fine.
func (s *Store) Withdraw(ctx context.Context, gateway, id string, now time.Time, before func(api.Approval) error) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		a, err := approval(ctx, tx, id, now)
		switch {
		case err != nil:
			return err
		case a.Gateway != gateway:
			return ErrNotFound
		case a.Status == api.StatusWithdrawn:
			return nil
		case a.Status != api.StatusPending && (a.Status != api.StatusApproved || a.Mode != api.ModeRetry):
			return ErrDecided
		}
		a.Status, a.DecidedAt = api.StatusWithdrawn, &now
		_, err = tx.ExecContext(ctx, "UPDATE approvals SET status = $2, decided_at = $3 WHERE id = $1", id, string(a.Status), micros(now))
		return then(err, func() error { return before(a) })
	})
}

// Grant uses up the gateway's approval of mode retry with that binding, and
// returns it; or ErrNotFound. The same nonce again answers the same.
func (s *Store) Grant(ctx context.Context, gateway, binding, nonce string, now time.Time, before func(api.Approval) error) (a api.Approval, err error) {
	err = s.write(ctx, func(tx *sql.Tx, _ int64) error {
		var id string
		err := tx.QueryRowContext(ctx, "SELECT id FROM approvals WHERE gateway = $1 AND binding = $2 AND used_by = $3", gateway, binding, nonce).Scan(&id)
		if err == nil {
			a, err = approval(ctx, tx, id, now)
			return err
		}
		err = tx.QueryRowContext(ctx, "UPDATE approvals SET status = $1, used_by = $2 WHERE id = ("+
			"SELECT id FROM approvals WHERE gateway = $3 AND binding = $4 AND mode = $5 AND status = $6 AND expires_at > $7 ORDER BY decided_at LIMIT 1"+
			") RETURNING id", string(api.StatusUsed), nonce, gateway, binding, api.ModeRetry, string(api.StatusApproved), micros(now)).Scan(&id)
		if err != nil {
			return notFound(err)
		}
		a, err = approval(ctx, tx, id, now)
		return then(err, func() error { return before(a) })
	})
	return a, err
}

// ForgetApprovals removes the approvals that expired before a time, with the
// statements that they hold; the evidence journal keeps what happened.
func (s *Store) ForgetApprovals(ctx context.Context, before time.Time) error {
	return s.write(ctx, func(tx *sql.Tx, _ int64) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM votes WHERE approval IN (SELECT id FROM approvals WHERE expires_at < $1)", micros(before))
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM approvals WHERE expires_at < $1", micros(before))
		return err
	})
}
