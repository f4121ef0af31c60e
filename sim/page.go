package sim

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// wholeList is a default page size for lists that come in one piece unless a
// limit is asked for.
const wholeList = -1

// usualPage is the page size of the other lists if none is asked for (“List
// Message Batches”, platform.claude.com).
const usualPage = 20

// section is the part of a list that a request asked for.
type section[T any] struct {
	data []T
	more bool
	next string // page cursor of what follows; "" if nothing does
}

// cut returns the part of a list that a query asks for with limit and one of
// after_id, before_id and page. A cursor that names nothing is refused (guess),
// so that nobody reads the same page for ever.
func cut[T any](q url.Values, list []T, id func(T) string, size int) (section[T], *reject) {
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1000 {
			return section[T]{}, invalid("limit: must be 1 to 1000")
		}
		size = n
	}
	if size == wholeList {
		size = len(list)
	}
	after, before := q.Get("after_id"), q.Get("before_id")
	if cursor := q.Get("page"); cursor != "" {
		last, ok := strings.CutPrefix(cursor, "page_")
		if !ok {
			return section[T]{}, invalid("page: not a cursor of this list")
		}
		after = last
	}
	find := func(want string) int { return slices.IndexFunc(list, func(v T) bool { return id(v) == want }) }
	if after != "" {
		at := find(after)
		if at < 0 {
			return section[T]{}, invalid("after_id: names nothing in this list")
		}
		list = list[at+1:]
	}
	if before != "" {
		at := find(before)
		if at < 0 {
			return section[T]{}, invalid("before_id: names nothing in this list")
		}
		list = list[:at]
	}
	p := section[T]{more: len(list) > size, data: list[:min(size, len(list))]}
	if before != "" {
		p.data = list[max(0, len(list)-size):]
	}
	if p.more && len(p.data) > 0 {
		p.next = "page_" + id(p.data[len(p.data)-1])
	}
	return p, nil
}

// idPage is a page of the lists that are read on with after_id and before_id.
type idPage struct {
	Data  any     `json:"data"`
	More  bool    `json:"has_more"`
	First *string `json:"first_id"`
	Last  *string `json:"last_id"`
}

// pageOf returns a page of data, which the part p became. It must not be nil.
func pageOf[T any](p section[T], data any, id func(T) string) idPage {
	page := idPage{Data: data, More: p.more}
	if n := len(p.data); n > 0 {
		first, last := id(p.data[0]), id(p.data[n-1])
		page.First, page.Last = &first, &last
	}
	return page
}

// cursorPage is a page of the lists that are read on with page.
type cursorPage struct {
	Data any     `json:"data"`
	Next *string `json:"next_page"`
}

// cursorOf returns a page of data, which the part p became. It must not be nil.
func cursorOf[T any](p section[T], data any) cursorPage {
	page := cursorPage{Data: data}
	if p.next != "" {
		page.Next = &p.next
	}
	return page
}

// each returns f of every element; never nil, so that it is a list in JSON.
func each[T, U any](list []T, f func(T) U) []U {
	out := make([]U, len(list))
	for i, v := range list {
		out[i] = f(v)
	}
	return out
}
