package bearerd

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

func TestTheQuickStartIsTheExample(t *testing.T) {
	example, err := os.ReadFile("../../examples/go/main.go")
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("not in a checkout of the repository")
	}
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(example)+"```\n") {
		t.Error("the quick start of README.md is not examples/go/main.go")
	}
}
