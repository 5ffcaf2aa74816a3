package main

import (
	"bytes"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
)

const (
	plotWidth   = 24 * vg.Centimeter
	plotHeight  = 12 * vg.Centimeter
	legendWidth = 6 * vg.Centimeter
)

// ours is the colour of sqlite-mem. theirs are the colours of Okabe and Ito, which
// colour-blind people can tell apart.
var (
	ours   = color.RGBA{0xD5, 0x5E, 0x00, 0xFF}
	theirs = []color.Color{
		color.RGBA{0x00, 0x72, 0xB2, 0xFF}, color.RGBA{0x00, 0x9E, 0x73, 0xFF}, color.RGBA{0xCC, 0x79, 0xA7, 0xFF},
		color.RGBA{0xE6, 0x9F, 0x00, 0xFF}, color.RGBA{0x56, 0xB4, 0xE9, 0xFF}, color.RGBA{0, 0, 0, 0xFF},
	}
)

// style returns the line style of a contender. It is the same in each plot.
func style(name string) draw.LineStyle {
	own, other := 0, 0
	for _, c := range contender.All() {
		mine := c.Own || c.Name == contender.Reference
		if c.Name == name {
			s := draw.LineStyle{Color: ours, Width: vg.Points(1.4)}
			switch {
			case c.Name == contender.Reference:
				s.Width = vg.Points(2.6)
			case mine:
				s.Dashes = [][]vg.Length{{vg.Points(7), vg.Points(3)}, {vg.Points(2), vg.Points(2)}, {vg.Points(7), vg.Points(2), vg.Points(2), vg.Points(2)}}[(own-1)%3]
			default:
				s.Color = theirs[other%len(theirs)]
				s.Dashes = [][]vg.Length{nil, {vg.Points(5), vg.Points(3)}, {vg.Points(1), vg.Points(2)}}[other/len(theirs)%3]
			}
			return s
		}
		if mine {
			own++
		} else {
			other++
		}
	}
	return draw.LineStyle{Color: color.Black, Width: vg.Points(1)}
}

// chart is a plot with its legend beside it.
type chart struct {
	*plot.Plot
	legend plot.Legend
}

func newChart(title, x, y string) *chart {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	plotter.DefaultFont = plot.DefaultFont
	c := &chart{plot.New(), plot.NewLegend()}
	c.Title.Text, c.X.Label.Text, c.Y.Label.Text = title, x, y
	c.Title.Padding = vg.Points(8)
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{0xDD}, color.Gray{0xDD}
	c.Add(grid)
	c.X.Padding, c.Y.Padding = vg.Points(4), vg.Points(4)
	c.legend.Top, c.legend.Left = true, true
	c.legend.ThumbnailWidth = vg.Points(26)
	c.legend.Padding = vg.Points(3)
	c.legend.TextStyle.Font.Size = vg.Points(10)
	return c
}

// line draws the line of a contender.
func (c *chart) line(name string, xys plotter.XYs, points bool) error {
	if len(xys) == 0 {
		return nil
	}
	line, err := plotter.NewLine(xys)
	if err != nil {
		return err
	}
	line.LineStyle = style(name)
	if !points { // thick lines would hide each other
		line.Width = vg.Points(1.2)
	}
	c.Add(line)
	thumbs := []plot.Thumbnailer{line}
	if points {
		dots, err := plotter.NewScatter(xys)
		if err != nil {
			return err
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: vg.Points(2.4), Shape: draw.CircleGlyph{}}
		c.Add(dots)
		thumbs = append(thumbs, dots)
	}
	c.legend.Add(name, thumbs...)
	return nil
}

// save writes the chart. It adds fonts for readers who do not have Liberation Sans.
func (c *chart) save(path string) error {
	canvas := vgsvg.New(plotWidth, plotHeight)
	all := draw.New(canvas)
	c.Draw(draw.Crop(all, 0, -legendWidth, vg.Points(4), -vg.Points(4)))
	c.legend.Draw(draw.Crop(all, plotWidth-legendWidth+vg.Points(8), 0, 0, -vg.Points(28)))
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	text := bytes.ReplaceAll(svg.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;"))
	return os.WriteFile(path, text, 0o644)
}

// logY makes the vertical axis logarithmic, between two round numbers.
func (c *chart) logY() {
	c.Y.Scale = plot.LogScale{}
	c.Y.Tick.Marker = plot.TickerFunc(ticks125)
	low, high := math.Inf(-1), math.Inf(1)
	for _, t := range ticks125(c.Y.Min/10, c.Y.Max*10) {
		if t.Value <= c.Y.Min {
			low = max(low, t.Value)
		}
		if t.Value >= c.Y.Max {
			high = min(high, t.Value)
		}
	}
	c.Y.Min, c.Y.Max = low, high
}

// ticks125 returns ticks at 1, 2 and 5 of each decade.
func ticks125(least, most float64) (ticks []plot.Tick) {
	for decade := math.Floor(math.Log10(least)); decade <= math.Ceil(math.Log10(most)); decade++ {
		for _, digit := range []float64{1, 2, 5} {
			if v := digit * math.Pow(10, decade); v >= least*0.999 && v <= most*1.001 {
				ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
			}
		}
	}
	return ticks
}

// number writes 2000 as 2k.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// plotThroughput draws operations per second by goroutines, at even distances.
func plotThroughput(cells []*cell, work, title, x, path string) error {
	c := newChart(title, x, "operations / s")
	goroutines := goroutinesOf(cells, work)
	var ticks []plot.Tick
	for i, g := range goroutines {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: strconv.Itoa(g)})
	}
	for _, name := range contendersOf(cells) {
		var xys plotter.XYs
		for i, g := range goroutines {
			if found := find(cells, work, name, false, g); found != nil {
				if ns := medianOf(found, nsPerOp); ns > 0 {
					xys = append(xys, plotter.XY{X: float64(i), Y: 1e9 / ns})
				}
			}
		}
		if err := c.line(name, xys, true); err != nil {
			return err
		}
	}
	if math.IsInf(c.Y.Min, 0) {
		return nil // everything failed
	}
	c.X.Tick.Marker = plot.ConstantTicks(ticks)
	c.logY()
	return c.save(path)
}

// plotTimeline draws the longest statement of each slot during a save. It picks the
// round with the median maximum.
func plotTimeline(r *results, mb int, path string) error {
	c := newChart("The longest statement that ran in each 20 ms, through a save of "+strconv.Itoa(mb)+" MB", "seconds since the save began (triangle: its end)", "milliseconds")
	var marks []plot.Plotter
	for _, contender := range contender.All() {
		runs, _ := r.snapshotsOf(contender.Name, mb)
		if len(runs) == 0 {
			continue
		}
		slices.SortFunc(runs, func(a, b *snapshotRun) int { return int(a.With[3] - b.With[3]) })
		s := runs[len(runs)/2]
		var xys plotter.XYs
		for i, d := range s.Worst {
			if d > 0 {
				xys = append(xys, plotter.XY{X: (time.Duration(i)*s.Slot - s.SaveBegan).Seconds(), Y: float64(d) / 1e6})
			}
		}
		if err := c.line(contender.Name, xys, false); err != nil {
			return err
		}
		mark, err := plotter.NewScatter(plotter.XYs{{X: (s.SaveEnd - s.SaveBegan).Seconds(), Y: 0.01}})
		if err != nil {
			return err
		}
		mark.GlyphStyle = draw.GlyphStyle{Color: style(contender.Name).Color, Radius: vg.Points(5), Shape: draw.TriangleGlyph{}}
		marks = append(marks, mark)
	}
	c.Add(marks...)
	c.logY()
	return c.save(path)
}

// plotGrowth draws a figure by the size of the database.
func plotGrowth(r *results, title, y string, log bool, pick func(*growthRun) float64, path string) error {
	c := newChart(title, "size of the database in MB", y)
	c.X.Min, c.X.Max = math.Inf(1), math.Inf(-1)
	for _, name := range grown {
		var xys plotter.XYs
		for _, mb := range r.growthSizes() {
			runs := r.growthOf(name, mb)
			if v := over(runs, pick); v > 0 {
				xys = append(xys, plotter.XY{X: over(runs, func(g *growthRun) float64 { return float64(g.DataBytes) / (1 << 20) }), Y: v})
			}
		}
		if err := c.line(name, xys, true); err != nil {
			return err
		}
	}
	if math.IsInf(c.X.Min, 0) {
		return nil // everything failed
	}
	c.X.Scale = plot.LogScale{}
	c.X.Tick.Marker = plot.TickerFunc(ticks125)
	if log {
		c.logY()
	} else {
		c.Y.Min = 0
		c.Y.Max *= 1.1
	}
	return c.save(path)
}

// plots draws all results and returns the names of the files.
func plots(r *results, dir string) (names []string, err error) {
	draw := func(name string, fn func(path string) error) {
		if err != nil {
			return
		}
		path := filepath.Join(dir, name)
		if err = fn(path); err == nil {
			if _, missing := os.Stat(path); missing == nil {
				names = append(names, name)
			}
		}
	}
	for _, w := range workloadsOf(r.Cells) {
		draw("throughput-"+w+".svg", func(path string) error {
			return plotThroughput(r.Cells, w, w+": "+what(w), "goroutines", path)
		})
	}
	if len(goroutinesOf(r.Users, "UsersScan")) > 0 {
		draw("users-UsersScan.svg", func(path string) error {
			return plotThroughput(r.Users, "UsersScan", "UsersScan: "+whatUsers(r, "UsersScan"), "goroutines", path)
		})
	}
	for _, w := range workloadsOf(r.Mail) {
		draw("throughput-"+w+".svg", func(path string) error {
			return plotThroughput(r.Mail, w, w+", go-imap-sql", "goroutines", path)
		})
	}
	if len(r.Commits) > 0 {
		draw("commits.svg", func(path string) error {
			return plotThroughput(r.Commits, "PointWrite", "Commits, by the cost of a crash", "writers", path)
		})
	}
	for _, mb := range r.snapshotSizes() {
		draw("snapshot-"+strconv.Itoa(mb)+"MB.svg", func(path string) error { return plotTimeline(r, mb, path) })
	}
	if len(r.Growth) > 0 {
		draw("growth-commit.svg", func(path string) error {
			return plotGrowth(r, "A commit by one goroutine, median", "microseconds", true, func(g *growthRun) float64 { return g.Commit[0] / 1e3 }, path)
		})
		draw("growth-pin.svg", func(path string) error {
			return plotGrowth(r, "A read-only transaction of one read, median", "microseconds", true, func(g *growthRun) float64 {
				if g.Pin == nil {
					return 0
				}
				return g.Pin[0] / 1e3
			}, path)
		})
		draw("growth-memory.svg", func(path string) error {
			return plotGrowth(r, "Resident memory over size of the database", "ratio", false, func(g *growthRun) float64 {
				return float64(g.Resident) / float64(g.DataBytes)
			}, path)
		})
	}
	return names, err
}
