// An order service that is busy for some seconds under Pyroscope's SDK.
package main

import (
	"log"
	"os"
	"time"

	"github.com/grafana/pyroscope-go"
)

var sink float64

//go:noinline
func priceOrders(until time.Time) {
	for time.Now().Before(until) {
		for round := 0; round < 100_000; round++ {
			sink += float64(round) * 0.5
		}
	}
}

func main() {
	profiler, err := pyroscope.Start(pyroscope.Config{
		ApplicationName: os.Args[2],
		ServerAddress:   os.Args[1],
		UploadRate:      2 * time.Second,
		Tags:            map[string]string{"region": "eu"},
		ProfileTypes: []pyroscope.ProfileType{
			pyroscope.ProfileCPU, pyroscope.ProfileInuseSpace, pyroscope.ProfileAllocObjects,
			pyroscope.ProfileGoroutines,
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	priceOrders(time.Now().Add(3 * time.Second))
	if err := profiler.Stop(); err != nil {
		log.Fatal(err)
	}
}
