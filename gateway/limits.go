package gateway

import (
	"time"

	"github.com/posternhq/postern/policylang/statement"
)

// Limits bound the server and each session. Zero fields take the defaults.
type Limits struct {
	Connections         int           // at once, those that log in among them; 1,000
	IdentityConnections int           // sessions of one identity at once; 250
	LoginTimeout        time.Duration // from connection to the first ReadyForQuery; 30 s
	SessionTTL          time.Duration // longest session; 8 h
	Idle                time.Duration // longest time without a client message while nothing runs; 0 is unlimited
	Stuck               time.Duration // longest time that one write to a client or to the database may take; 15 min
	Drain               time.Duration // longest time that sessions may go on once the server stops; 30 s
	Spares              int           // connections to the database that wait for the next session of a login that repeats, for each login; 0: none
	Message             int           // bytes of a client message that must be read whole; 64 MiB
	CatalogAge          time.Duration // longest time that a catalog is used without having been compared with the server's; 30 s
	Lookups             int           // comparisons of masked columns with values, for each identity in an hour; 100
	Statement           statement.Limits
}

func (l Limits) withDefaults() Limits {
	const (
		defaultConnections = 1000
		defaultOfIdentity  = 250
		defaultMessage     = 64 << 20
		defaultLookups     = 100
	)
	if l.Connections <= 0 {
		l.Connections = defaultConnections
	}
	if l.Lookups <= 0 {
		l.Lookups = defaultLookups
	}
	if l.IdentityConnections <= 0 {
		l.IdentityConnections = defaultOfIdentity
	}
	if l.LoginTimeout <= 0 {
		l.LoginTimeout = 30 * time.Second
	}
	if l.SessionTTL <= 0 {
		l.SessionTTL = 8 * time.Hour
	}
	if l.Stuck <= 0 {
		l.Stuck = 15 * time.Minute // as long as TCP itself tries to send
	}
	if l.Drain <= 0 {
		l.Drain = 30 * time.Second
	}
	if l.Message <= 0 {
		l.Message = defaultMessage
	}
	return l
}
