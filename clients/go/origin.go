package bearerd

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// origin is scheme, host and port of a URL (RFC 6454 section 4).
type origin struct {
	scheme, host, port string
}

func originOf(u *url.URL) origin {
	o := origin{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}
	if o.port == "" {
		switch o.scheme {
		case "http":
			o.port = "80"
		case "https":
			o.port = "443"
		}
	}
	return o
}

func (o origin) String() string {
	return o.scheme + "://" + net.JoinHostPort(o.host, o.port)
}

// strayed reports whether a request is a redirect that has left the origin of
// the first request, be it only on the way. http.Client calls its transport
// for each hop, with the response that led there.
func strayed(r *http.Request) bool {
	here := originOf(r.URL)
	for hop := r.Response; hop != nil && hop.Request != nil; hop = hop.Request.Response {
		if originOf(hop.Request.URL) != here {
			return true
		}
	}
	return false
}

// secure reports whether a token may be sent there: encrypted, or to this
// machine.
func secure(u *url.URL) bool {
	o := originOf(u)
	if o.scheme != "http" {
		return o.scheme == "https"
	}
	address, err := netip.ParseAddr(o.host)
	return o.host == "localhost" || err == nil && address.Unmap().IsLoopback()
}
