package main

import (
	"image/color"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/sqlite-mem/sqlite-mem/bench/contender"
)

const (
	plotWidth  = 22 * vg.Centimeter
	plotHeight = 12 * vg.Centimeter
)

// colours are those of Okabe and Ito, which the colour-blind can tell apart; the
// contenders beyond them are dashed.
var colours = []color.Color{
	color.RGBA{0xD5, 0x5E, 0x00, 0xFF}, color.RGBA{0x00, 0x72, 0xB2, 0xFF}, color.RGBA{0x00, 0x9E, 0x73, 0xFF},
	color.RGBA{0xCC, 0x79, 0xA7, 0xFF}, color.RGBA{0xE6, 0x9F, 0x00, 0xFF}, color.RGBA{0x56, 0xB4, 0xE9, 0xFF}, color.RGBA{0, 0, 0, 0xFF},
}

// addLine adds the line of a contender, which looks the same in each plot.
func addLine(p *plot.Plot, name string, xys plotter.XYs, points bool) error {
	if len(xys) == 0 {
		return nil
	}
	i := slices.IndexFunc(contender.All(), func(c *contender.Contender) bool { return c.Name == name })
	i = max(i, 0)
	line, err := plotter.NewLine(xys)
	if err != nil {
		return err
	}
	line.Color = colours[i%len(colours)]
	line.Width = vg.Points(1.2)
	if name == contender.Reference {
		line.Width = vg.Points(2.4)
	}
	if i >= len(colours) {
		line.Dashes = []vg.Length{vg.Points(5), vg.Points(3)}
	}
	p.Add(line)
	thumbs := []plot.Thumbnailer{line}
	if points {
		dots, err := plotter.NewScatter(xys)
		if err != nil {
			return err
		}
		dots.GlyphStyle = draw.GlyphStyle{Color: line.Color, Radius: vg.Points(2.4), Shape: draw.CircleGlyph{}}
		p.Add(dots)
		thumbs = append(thumbs, dots)
	}
	p.Legend.Add(name, thumbs...)
	return nil
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Add(plotter.NewGrid())
	p.Legend.Top = true
	p.Legend.Left = false
	p.Legend.Padding = vg.Points(2)
	p.Legend.XOffs = vg.Points(-4)
	p.X.Padding, p.Y.Padding = vg.Points(4), vg.Points(4)
	return p
}

// logY makes the vertical axis logarithmic, in whole decades.
func logY(p *plot.Plot) {
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.TickerFunc(ticks125)
	p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
	p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
}

// ticks125 are at 1, 2 and 5 of each decade.
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

// number writes 20000 as 20k.
func number(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + "M"
	case v >= 1e4:
		return strconv.FormatFloat(v/1e3, 'g', 3, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// save makes room at the right for the legend.
func save(p *plot.Plot, path string, room float64) error {
	if p.X.Scale == nil {
		p.X.Scale = plot.LinearScale{}
	}
	p.X.Max += (p.X.Max - p.X.Min) * room
	return p.Save(plotWidth, plotHeight, path)
}

// plotThroughput draws operations a second by goroutines, at even distances.
func plotThroughput(r *results, works string, goroutines []int, path string) error {
	p := newPlot(works+", background context", "goroutines", "operations / s")
	var ticks []plot.Tick
	for i, g := range goroutines {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: strconv.Itoa(g)})
	}
	for _, c := range contender.All() {
		var xys plotter.XYs
		for i, g := range goroutines {
			if c := r.find(works, c.Name, false, g); c != nil {
				if ns := medianOf(c, nsPerOp); ns > 0 {
					xys = append(xys, plotter.XY{X: float64(i), Y: 1e9 / ns})
				}
			}
		}
		if err := addLine(p, c.Name, xys, true); err != nil {
			return err
		}
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	logY(p)
	return save(p, path, 0.45)
}

// plotTimeline draws the worst statement of each slot through a snapshot, in the
// round whose worst is the median of the contender's rounds.
func plotTimeline(r *results, mb int, path string) error {
	p := newPlot("The longest statement that ran in each 20 ms, through a save of "+strconv.Itoa(mb)+" MB", "seconds since the save began (marks: its end)", "milliseconds")
	for _, c := range contender.All() {
		var runs []*snapshotRun
		for _, s := range r.Snapshots {
			if s.Contender == c.Name && s.MB == mb && s.Err == "" {
				runs = append(runs, s)
			}
		}
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
		if err := addLine(p, c.Name, xys, false); err != nil {
			return err
		}
		end := plotter.XYs{{X: (s.SaveEnd - s.SaveBegan).Seconds(), Y: 0.01}}
		mark, err := plotter.NewScatter(end)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(contender.All(), func(o *contender.Contender) bool { return o.Name == c.Name })
		mark.GlyphStyle = draw.GlyphStyle{Color: colours[i%len(colours)], Radius: vg.Points(4), Shape: draw.TriangleGlyph{}}
		p.Add(mark)
	}
	logY(p)
	return save(p, path, 0.25)
}

// plotGrowth draws a figure of each size of the database.
func plotGrowth(r *results, title, y string, pick func(growthPoint) float64, path string) error {
	p := newPlot(title, "size of the database in MB", y)
	least := math.Inf(1)
	for _, g := range r.Growth {
		var xys plotter.XYs
		for _, point := range g.Points {
			if v := pick(point); v > 0 {
				xys = append(xys, plotter.XY{X: float64(point.DataBytes) / (1 << 20), Y: v})
				least = min(least, float64(point.DataBytes)/(1<<20))
			}
		}
		if err := addLine(p, g.Contender, xys, true); err != nil {
			return err
		}
	}
	if math.IsInf(least, 1) {
		return nil
	}
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = plot.TickerFunc(ticks125)
	p.Y.Min = 0
	p.Y.Max *= 1.15
	p.X.Max *= math.Pow(p.X.Max/p.X.Min, 0.35)
	return p.Save(plotWidth, plotHeight, path)
}

// plots draws everything that was measured and returns the names of the files.
func plots(r *results, dir string) (names []string, err error) {
	draw := func(name string, fn func(path string) error) {
		if err == nil {
			if err = fn(filepath.Join(dir, name)); err == nil {
				names = append(names, name)
			}
		}
	}
	goroutines := r.goroutines()
	for _, w := range r.workloads() {
		draw("throughput-"+w+".svg", func(path string) error { return plotThroughput(r, w, goroutines, path) })
	}
	for _, mb := range r.snapshotSizes() {
		draw("snapshot-"+strconv.Itoa(mb)+"MB.svg", func(path string) error { return plotTimeline(r, mb, path) })
	}
	if slices.ContainsFunc(r.Growth, func(g *growthRun) bool { return len(g.Points) > 0 }) {
		draw("growth-commit.svg", func(path string) error {
			return plotGrowth(r, "A commit by one goroutine, median", "microseconds", func(p growthPoint) float64 { return p.Commit[0] / 1e3 }, path)
		})
		draw("growth-pin.svg", func(path string) error {
			return plotGrowth(r, "A read-only transaction of one read, median", "microseconds", func(p growthPoint) float64 {
				if p.Pin == nil {
					return 0
				}
				return p.Pin[0] / 1e3
			}, path)
		})
		draw("growth-memory.svg", func(path string) error {
			return plotGrowth(r, "Resident memory over size of the database", "ratio", func(p growthPoint) float64 {
				return float64(p.Resident) / float64(p.DataBytes)
			}, path)
		})
	}
	return names, err
}
