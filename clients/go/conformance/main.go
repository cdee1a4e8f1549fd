// Command conformance lets the conformance suite of bearerd's client libraries
// drive this one: a JSON object a line on standard input, one a line on standard
// output. The argument says how tokens are read and calls are made: transport or
// oauth2.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	bearerd "github.com/bearerd/bearerd/clients/go"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != "transport" && os.Args[1] != "oauth2" {
		fmt.Fprintln(os.Stderr, "usage: run transport|oauth2")
		os.Exit(2)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err := serve(&driver{oauth2: os.Args[1] == "oauth2"}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(d *driver) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 16<<20)
	answers := json.NewEncoder(os.Stdout)
	answers.SetEscapeHTML(false)
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		if err := answers.Encode(d.obey(c)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// command has the fields of all commands.
type command struct {
	Do     string  `json:"do"`
	Client string  `json:"client"`
	Socket *string `json:"socket"`

	AllowHTTP   bool     `json:"allow_http"`
	MinValidity *float64 `json:"min_validity_s"`
	Timeout     *float64 `json:"timeout_s"`
	Readers     int      `json:"readers"`
	Times       int      `json:"times"`
	Reads       int      `json:"reads"`
	ID          string   `json:"id"`

	Set        map[string]string `json:"set"`
	Method     string            `json:"method"`
	URL        string            `json:"url"`
	Headers    map[string]string `json:"headers"`
	Body       *string           `json:"body"`
	StreamBody bool              `json:"stream_body"`
	Follow     bool              `json:"follow"`
	Count      int               `json:"count"`
}

// answer is a JSON object.
type answer map[string]any

type driver struct {
	oauth2 bool
	broker *bearerd.Broker
}

func (d *driver) obey(c command) answer {
	commands := map[string]func(command) (answer, error){
		"token": d.token, "read": d.read, "report": d.report, "headers": d.headers, "request": d.request,
		"burst": d.burst, "describe": d.describe, "bench": d.bench,
	}
	do := commands[c.Do]
	switch {
	case c.Do == "open":
		return d.open(c)
	case do == nil && c.Do != "close":
		return answer{"ok": false, "reason": "UNKNOWN_COMMAND"}
	case d.broker == nil:
		return answer{"ok": false, "reason": "NOT_OPEN"}
	case c.Do == "close":
		return outcome(answer{}, d.broker.Close())
	}
	return outcome(do(c))
}

func (d *driver) open(c command) answer {
	var options []bearerd.Option
	if c.Socket != nil {
		options = append(options, bearerd.WithSocket(*c.Socket))
	}
	if c.AllowHTTP {
		options = append(options, bearerd.WithAllowHTTP())
	}
	d.broker = bearerd.New(options...)
	return answer{"ok": true}
}
