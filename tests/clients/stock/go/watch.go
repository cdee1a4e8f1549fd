package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"stock/bearerdv1"
)

// watch is a stream whose messages are read ahead, so that waiting for the next
// one can end without ending the stream.
type watch struct {
	messages chan answer
	// end is set when messages is closed.
	end error
}

// open reads a stream and returns its number and first message.
func (d *driver) open(ctx context.Context, receive func() (answer, error)) (answer, error) {
	w := &watch{messages: make(chan answer, 1024)}
	go func() {
		defer close(w.messages)
		for {
			message, err := receive()
			if err != nil {
				w.end = err
				return
			}
			w.messages <- message
		}
	}()
	d.watches = append(d.watches, w)
	first, err := d.next(ctx, command{Watch: len(d.watches)})
	if err != nil {
		d.watches = d.watches[:len(d.watches)-1]
	}
	return first, err
}

// next returns the next message of a stream, or its end as an error.
func (d *driver) next(ctx context.Context, c command) (answer, error) {
	if c.Watch < 1 || c.Watch > len(d.watches) {
		return nil, status.Errorf(codes.InvalidArgument, "there is no watch %d", c.Watch)
	}
	w := d.watches[c.Watch-1]
	select {
	case message, open := <-w.messages:
		if !open {
			return nil, w.end
		}
		message["watch"] = c.Watch
		return message, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

func (d *driver) watch(ctx context.Context, c command) (answer, error) {
	stream, err := d.broker.WatchToken(context.Background(), &bearerdv1.WatchTokenRequest{Client: c.Client})
	if err != nil {
		return nil, err
	}
	return d.open(ctx, func() (answer, error) {
		message, err := stream.Recv()
		switch {
		case err != nil:
			return nil, err
		case message.GetUnavailable() != nil:
			return answer{"unavailable": message.GetUnavailable().GetReason()}, nil
		default:
			return answer{"id": message.GetToken().GetId()}, nil
		}
	})
}

func (d *driver) healthWatch(ctx context.Context, c command) (answer, error) {
	stream, err := d.health.Watch(context.Background(), &health.HealthCheckRequest{Service: c.Service})
	if err != nil {
		return nil, err
	}
	return d.open(ctx, func() (answer, error) {
		message, err := stream.Recv()
		if err != nil {
			return nil, err
		}
		return answer{"status": message.GetStatus().String()}, nil
	})
}

// failure describes an error by its google.rpc details.
func failure(err error) answer {
	if errors.Is(err, io.EOF) {
		err = status.Error(codes.OK, "the stream has ended")
	}
	s := status.Convert(err)
	a := answer{
		"ok": false, "code": code.Code(s.Code()).String(), "message": s.Message(),
		"domain": nil, "reason": nil, "retry_after_s": nil,
	}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			a["domain"], a["reason"] = d.GetDomain(), d.GetReason()
		case *errdetails.RetryInfo:
			a["retry_after_s"] = d.GetRetryDelay().AsDuration().Seconds()
		}
	}
	return a
}
