package main

import (
	"context"
	"strings"
	"unicode/utf8"

	"kmipd/kmip"
	"kmipd/kmip/client"
)

// detailColumns are the attributes that locate --details asks for and shows.
var detailColumns = []string{"Object Type", "Cryptographic Algorithm", "Cryptographic Length", "State", "Name"}

// detailBatch bounds the items of a message; servers refuse large ones.
const detailBatch = 64

// describeAll gets the columns of each object. One that is gone meanwhile, or that must not be seen, has none.
func describeAll(ctx context.Context, c *client.Client, ids []string) ([]attributeList, error) {
	out := make([]attributeList, 0, len(ids))
	for len(ids) > 0 {
		part := ids[:min(detailBatch, len(ids))]
		ids = ids[len(part):]
		items := make([]client.Item, len(part))
		for i := range part {
			items[i] = client.Item{Operation: kmip.OperationGetAttributes,
				Payload: &kmip.GetAttributesRequest{UniqueIdentifier: &part[i], AttributeName: detailColumns}}
		}
		results, err := c.Batch(ctx, client.Options{Continuation: kmip.BatchErrorContinuationOptionContinue}, items...)
		if err != nil {
			return nil, err
		}
		for i := range results {
			view := attributeList{UniqueIdentifier: part[i], Attributes: []attributeView{}}
			if resp, err := client.Decode[kmip.GetAttributesResponse](&results[i]); err == nil {
				view.Attributes = viewAttributes(resp.Attribute)
			}
			out = append(out, view)
		}
	}
	return out, nil
}

// detailTable is one line an object, with a line of headings.
func detailTable(list []attributeList) []string {
	table := [][]string{{"UNIQUE IDENTIFIER", "TYPE", "ALGORITHM", "LENGTH", "STATE", "NAMES"}}
	for _, o := range list {
		line := []string{printable(o.UniqueIdentifier)}
		for _, column := range detailColumns {
			var cell []string
			for _, a := range o.Attributes {
				if a.Name == column {
					cell = append(cell, cellText(a.Value))
				}
			}
			line = append(line, strings.Join(cell, ", "))
		}
		table = append(table, line)
	}
	return align(table)
}

// cellText is a value in a table: of a Name its value alone.
func cellText(v any) string {
	if s, ok := v.(structured); ok && len(s) > 0 && s[0].name == kmip.NameOfTag(kmip.TagNameValue) {
		v = s[0].value
	}
	return strings.Join(lines(v), "; ")
}

func align(table [][]string) []string {
	width := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	out := make([]string, len(table))
	for i, line := range table {
		var b strings.Builder
		for j, cell := range line {
			b.WriteString(cell + strings.Repeat(" ", width[j]-utf8.RuneCountInString(cell)+2))
		}
		out[i] = strings.TrimRight(b.String(), " ")
	}
	return out
}
