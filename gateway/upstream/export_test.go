package upstream

import "time"

// SetLife has spares live so long.
func (s *Spares) SetLife(d time.Duration) { s.life = d }

// Waiting is how many spares wait, and how many are being made.
func (s *Spares) Waiting() (spares, making int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.logins {
		spares += len(k.spares)
		making += k.making
	}
	return spares, making
}

// PID is the server's process of a connection.
func (c *Conn) PID() uint32 { return c.pid }
