package pebble

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"kmipd/metadata"
	"kmipd/metadata/metadatatest"
)

// filled has n records of one client on an in-memory file system.
func filled(b *testing.B, n int) *Store {
	b.Helper()
	s := open(b, vfs.NewMem())
	for i := 0; i < n; {
		var batch metadata.Batch
		for ; i < n && len(batch.Puts) < 500; i++ {
			r := metadatatest.Key("client", fmt.Sprintf("uid-%06d", i), i, fmt.Sprintf("name-%06d", i))
			batch.Puts = append(batch.Puts, metadata.Put{Record: r})
		}
		if err := s.Commit(b.Context(), &batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	return s
}

// Of many records and of a few that are asked for again and again.
func BenchmarkGet(b *testing.B) {
	for _, among := range []int{10000, 64} {
		b.Run(fmt.Sprintf("among=%d", among), func(b *testing.B) {
			s := filled(b, 10000)
			i := 0
			for b.Loop() {
				if _, err := s.Get(b.Context(), fmt.Sprintf("uid-%06d", i%among)); err != nil {
					b.Fatal(err)
				}
				i += 7
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	enc, err := metadata.EncodeRecord(metadatatest.Key("client", "uid-000001", 1, "name"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := metadata.DecodeRecord(enc); err != nil {
			b.Fatal(err)
		}
	}
}

// On disk, as the sync is what a commit costs.
func BenchmarkCommit(b *testing.B) {
	for _, parallel := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("writers=%d", parallel), func(b *testing.B) {
			s, err := Open(b.TempDir(), Options{})
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			var n atomic.Int64
			b.SetParallelism((parallel + 1) / 2) // times GOMAXPROCS, which is 2 here
			b.ReportAllocs()
			b.ResetTimer()
			work := func() error {
				i := int(n.Add(1))
				r := metadatatest.Key("client", fmt.Sprintf("uid-%08d", i), i, fmt.Sprintf("name-%08d", i))
				return s.Commit(b.Context(), &metadata.Batch{Puts: []metadata.Put{{Record: r}}})
			}
			if parallel == 1 {
				for range b.N {
					if err := work(); err != nil {
						b.Fatal(err)
					}
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := work(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func BenchmarkLocate(b *testing.B) {
	for _, n := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			s := filled(b, n)
			all := func(*metadata.Record) bool { return true }
			volume, _ := metadata.QueryTerm("x-volume", metadatatest.Text("vol3"))
			group, _ := metadata.QueryTerm("Object Group", metadatatest.Text("pool"))
			for _, c := range []struct {
				name  string
				query func(i int) metadata.Query
				want  int
			}{
				{"name", func(i int) metadata.Query {
					return metadata.Query{Terms: []metadata.Term{metadata.NameTerm(fmt.Sprintf("name-%06d", i%n))}, Max: -1, Match: all}
				}, 1},
				{"name+type", func(i int) metadata.Query {
					return metadata.Query{Terms: []metadata.Term{metadata.ObjectTypeTerm(2), metadata.NameTerm(fmt.Sprintf("name-%06d", i%n))}, Max: -1, Match: all}
				}, 1},
				{"two wide, 10 wanted", func(int) metadata.Query {
					return metadata.Query{Terms: []metadata.Term{group, volume}, Max: 10, Match: all}
				}, 10},
				{"two wide, counted", func(int) metadata.Query {
					return metadata.Query{Terms: []metadata.Term{group, volume}, Max: 10, Count: true}
				}, 10},
			} {
				b.Run(c.name, func(b *testing.B) {
					b.ReportAllocs()
					i := 0
					for b.Loop() {
						q := c.query(i)
						q.Owner = "client"
						res, err := s.Locate(b.Context(), q)
						if err != nil || len(res.UIDs) != c.want {
							b.Fatalf("got %d, %v", len(res.UIDs), err)
						}
						i += 7
					}
				})
			}
		})
	}
}
