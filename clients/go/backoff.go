package bearerd

import "time"

// backoff returns how long to wait before the next attempt after so many
// failures in a row (from 1): full jitter over an interval that doubles from
// 50 ms to limit. sample is uniform in [0, 1).
func backoff(failures int, limit time.Duration, sample float64) time.Duration {
	interval := limit
	// The shift stays far from overflow: 2^20 times the base is above every limit.
	if shift := max(failures-1, 0); shift < 20 {
		interval = min(backoffBase<<shift, limit)
	}
	return time.Duration(sample * float64(interval))
}

const (
	backoffBase = 50 * time.Millisecond
	// backoffLimit is for a daemon that is away: it may be back any moment.
	backoffLimit = 2 * time.Second
	// backoffFinal is for a daemon that says no.
	backoffFinal = 30 * time.Second
)
