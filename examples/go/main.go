// Command accounts prints what the partner's API at $PARTNER_URL has for requestor 4711.
package main

import (
	"io"
	"log"
	"net/http"
	"os"

	bearerd "github.com/bearerd/bearerd/clients/go"
)

func main() {
	broker := bearerd.New()
	defer broker.Close()
	api := broker.Client("partner").HTTPClient()

	request, err := http.NewRequest(http.MethodGet, os.Getenv("PARTNER_URL")+"/api/accounts", nil)
	if err != nil {
		log.Fatal(err)
	}
	request.Header.Set("Requestor-ID", "4711")
	response, err := api.Do(request)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		log.Fatal(response.Status)
	}
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		log.Fatal(err)
	}
}
