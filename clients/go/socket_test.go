package bearerd

import (
	"slices"
	"testing"
)

func TestFindSocket(t *testing.T) {
	const own, home = "/run/user/1/bearerd/bearerd.sock", "/home/a/.bearerd/bearerd/bearerd.sock"
	for _, c := range []struct {
		name  string
		env   map[string]string
		there []string
		want  string
	}{
		{"named", map[string]string{"BEARERD_SOCKET": "x.sock", "HOME": "/home/a"}, []string{systemSocket, home}, "x.sock"},
		{"system's first", map[string]string{"XDG_RUNTIME_DIR": "/run/user/1"}, []string{systemSocket, own}, systemSocket},
		{"user's", map[string]string{"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/home/a"}, []string{own, home}, own},
		{"below home", map[string]string{"HOME": "/home/a"}, []string{home}, home},
		{"not below home with a runtime directory", map[string]string{"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/home/a"}, []string{home}, systemSocket},
		{"relative runtime directory", map[string]string{"XDG_RUNTIME_DIR": "run", "HOME": "/home/a"}, []string{home}, home},
		{"relative home", map[string]string{"HOME": "a"}, []string{"a/.bearerd/bearerd/bearerd.sock"}, systemSocket},
		{"nowhere", map[string]string{"HOME": "/home/a"}, nil, systemSocket},
		{"no variables", nil, nil, systemSocket},
	} {
		got := findSocket(
			func(name string) string { return c.env[name] },
			func(path string) bool { return slices.Contains(c.there, path) },
		)
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
