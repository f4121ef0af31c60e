package simapi

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
)

func (g *goSDK1Task) count(ctx context.Context) error {
	var p anthropic.MessageCountTokensParams
	if err := json.Unmarshal(g.Params, &p); err != nil {
		return err
	}
	n, err := g.api.Messages.CountTokens(ctx, p, g.opts...)
	if err == nil {
		g.seen.Tokens = int(n.InputTokens)
	}
	return err
}

func (g *goSDK1Task) models(ctx context.Context) error {
	pages := g.api.Models.ListAutoPaging(ctx, anthropic.ModelListParams{Limit: anthropic.Int(int64(g.Limit))}, g.opts...)
	for pages.Next() {
		g.sawModel(pages.Current())
	}
	return pages.Err()
}

func (g *goSDK1Task) model(ctx context.Context) error {
	m, err := g.api.Models.Get(ctx, g.ID, anthropic.ModelGetParams{}, g.opts...)
	if err == nil {
		g.sawModel(*m)
	}
	return err
}

func (g *goSDK1Task) sawModel(m anthropic.ModelInfo) {
	g.seen.Items = append(g.seen.Items, item{
		ID: m.ID, Type: string(m.Type), Name: m.DisplayName, Size: int(m.MaxInputTokens),
	})
}

func (g *goSDK1Task) batchCreate(ctx context.Context) error {
	var p anthropic.MessageBatchNewParams
	if err := json.Unmarshal(g.Params, &p); err != nil {
		return err
	}
	return g.sawBatch(g.api.Messages.Batches.New(ctx, p, g.opts...))
}

func (g *goSDK1Task) batchGet(ctx context.Context) error {
	return g.sawBatch(g.api.Messages.Batches.Get(ctx, g.ID, anthropic.MessageBatchGetParams{}, g.opts...))
}

func (g *goSDK1Task) batchCancel(ctx context.Context) error {
	return g.sawBatch(g.api.Messages.Batches.Cancel(ctx, g.ID, anthropic.MessageBatchCancelParams{}, g.opts...))
}

func (g *goSDK1Task) batchList(ctx context.Context) error {
	pages := g.api.Messages.Batches.ListAutoPaging(ctx,
		anthropic.MessageBatchListParams{Limit: anthropic.Int(int64(g.Limit))}, g.opts...)
	for pages.Next() {
		b := pages.Current()
		if err := g.sawBatch(&b, nil); err != nil {
			return err
		}
	}
	return pages.Err()
}

func (g *goSDK1Task) sawBatch(b *anthropic.MessageBatch, err error) error {
	if err != nil {
		return err
	}
	n := b.RequestCounts
	g.seen.Items = append(g.seen.Items, item{
		ID: b.ID, Type: string(b.Type), Status: string(b.ProcessingStatus), URL: b.ResultsURL,
		Counts: map[string]int{
			"processing": int(n.Processing), "succeeded": int(n.Succeeded), "errored": int(n.Errored),
			"canceled": int(n.Canceled), "expired": int(n.Expired),
		},
	})
	return nil
}

func (g *goSDK1Task) batchDelete(ctx context.Context) error {
	d, err := g.api.Messages.Batches.Delete(ctx, g.ID, anthropic.MessageBatchDeleteParams{}, g.opts...)
	if err == nil {
		g.seen.Items = append(g.seen.Items, item{ID: d.ID, Type: string(d.Type)})
	}
	return err
}

func (g *goSDK1Task) batchResults(ctx context.Context) error {
	lines := g.api.Messages.Batches.ResultsStreaming(ctx, g.ID, anthropic.MessageBatchResultsParams{}, g.opts...)
	defer func() { _ = lines.Close() }()
	for lines.Next() {
		line := lines.Current()
		it := item{ID: line.CustomID, Status: line.Result.Type}
		switch r := line.Result.AsAny().(type) {
		case anthropic.MessageBatchSucceededResult:
			for _, b := range r.Message.Content {
				it.Text += b.Text
			}
		case anthropic.MessageBatchErroredResult:
			it.Error = r.Error.Error.Type
		}
		g.seen.Items = append(g.seen.Items, it)
	}
	return lines.Err()
}

func (g *goSDK1Task) fileUpload(ctx context.Context) error {
	return g.sawFile(g.api.Files.Upload(ctx, anthropic.FileUploadParams{
		File: anthropic.File(strings.NewReader(g.Then), g.Name, "text/plain"),
	}, g.opts...))
}

func (g *goSDK1Task) fileGet(ctx context.Context) error {
	return g.sawFile(g.api.Files.GetMetadata(ctx, g.ID, anthropic.FileGetMetadataParams{}, g.opts...))
}

func (g *goSDK1Task) fileList(ctx context.Context) error {
	pages := g.api.Files.ListAutoPaging(ctx, anthropic.FileListParams{Limit: anthropic.Int(int64(g.Limit))}, g.opts...)
	for pages.Next() {
		f := pages.Current()
		if err := g.sawFile(&f, nil); err != nil {
			return err
		}
	}
	return pages.Err()
}

func (g *goSDK1Task) sawFile(f *anthropic.FileMetadata, err error) error {
	if err == nil {
		g.seen.Items = append(g.seen.Items, item{ID: f.ID, Type: string(f.Type), Name: f.Filename, Size: int(f.SizeBytes)})
	}
	return err
}

func (g *goSDK1Task) fileDelete(ctx context.Context) error {
	d, err := g.api.Files.Delete(ctx, g.ID, anthropic.FileDeleteParams{}, g.opts...)
	if err == nil {
		g.seen.Items = append(g.seen.Items, item{ID: d.ID, Type: string(d.Type)})
	}
	return err
}

func (g *goSDK1Task) rateLimits(ctx context.Context) error {
	pages := g.api.Organization.RateLimits.ListAutoPaging(ctx, anthropic.OrganizationRateLimitListParams{}, g.opts...)
	for pages.Next() {
		l := pages.Current()
		it := item{ID: l.ID, Type: string(l.Type), Name: l.Group.Type, Counts: map[string]int{}}
		for _, v := range l.Limits {
			it.Counts[string(v.Type)] = int(v.Value)
		}
		g.seen.Items = append(g.seen.Items, it)
	}
	return pages.Err()
}
