// Command stock asks the daemon with grpc-go as it comes, without a client
// library and without options: a JSON object a line on standard input, one a line
// on standard output. The argument is the socket.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"stock/bearerdv1"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: run SOCKET")
		os.Exit(2)
	}
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(socket string) error {
	// grpc-go reads the target as a URL: percent signs and spaces need their escapes.
	target := url.URL{Scheme: "unix", Path: socket}
	channel, err := grpc.NewClient(target.String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer channel.Close()
	d := &driver{
		broker: bearerdv1.NewTokenBrokerClient(channel),
		health: health.NewHealthClient(channel),
	}
	lines := bufio.NewScanner(os.Stdin)
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
	Do          string   `json:"do"`
	Client      string   `json:"client"`
	MinValidity *float64 `json:"min_validity_s"`
	Rejected    *string  `json:"rejected"`
	Timeout     *float64 `json:"timeout_s"`
	Watch       int      `json:"watch"`
	Service     string   `json:"service"`
}

// answer is a JSON object.
type answer map[string]any

type driver struct {
	broker  bearerdv1.TokenBrokerClient
	health  health.HealthClient
	watches []*watch
}

func (d *driver) obey(c command) answer {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	if c.Timeout != nil {
		ctx, cancel = context.WithTimeout(ctx, seconds(*c.Timeout))
	}
	defer cancel()
	commands := map[string]func(context.Context, command) (answer, error){
		"get": d.get, "watch": d.watch, "next": d.next, "list": d.list, "health": d.check, "health_watch": d.healthWatch,
	}
	do := commands[c.Do]
	if do == nil {
		return answer{"ok": false, "reason": "UNKNOWN_COMMAND"}
	}
	a, err := do(ctx, c)
	if err != nil {
		return failure(err)
	}
	a["ok"] = true
	return a
}

func (d *driver) get(ctx context.Context, c command) (answer, error) {
	request := &bearerdv1.GetTokenRequest{Client: c.Client}
	if c.MinValidity != nil {
		request.MinValidity = durationpb.New(seconds(*c.MinValidity))
	}
	if c.Rejected != nil {
		request.RejectedTokenId = *c.Rejected
	}
	response, err := d.broker.GetToken(ctx, request)
	if err != nil {
		return nil, err
	}
	const prefix = "REJECTION_"
	headers := make([]answer, 0)
	for _, h := range response.GetToken().GetHeaders() {
		headers = append(headers, answer{
			"name": h.GetName(), "value": h.GetValue(), "per_call": h.GetPerCall(), "pattern": h.GetPattern(),
		})
	}
	return answer{
		"id":            response.GetToken().GetId(),
		"authorization": response.GetToken().GetAuthorization(),
		"rejection":     strings.TrimPrefix(response.GetRejection().String(), prefix),
		"headers":       headers,
	}, nil
}

func (d *driver) list(ctx context.Context, _ command) (answer, error) {
	response, err := d.broker.ListClients(ctx, &bearerdv1.ListClientsRequest{})
	if err != nil {
		return nil, err
	}
	const prefix = "CLIENT_STATE_"
	clients := make([]answer, 0)
	for _, c := range response.GetClients() {
		clients = append(clients, answer{"name": c.GetName(), "state": strings.TrimPrefix(c.GetState().String(), prefix)})
	}
	return answer{"clients": clients}, nil
}

func (d *driver) check(ctx context.Context, c command) (answer, error) {
	response, err := d.health.Check(ctx, &health.HealthCheckRequest{Service: c.Service})
	if err != nil {
		return nil, err
	}
	return answer{"status": response.GetStatus().String()}, nil
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
