package measure

import "slices"

// Median returns the middle value, or the mean of the two in the middle. It returns 0
// if there are no values.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Clone(values)
	slices.Sort(v)
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// Ratio returns the median of [Ratios], or 0 if there are none.
func Ratio(values, reference []float64) float64 { return Median(Ratios(values, reference)) }

// Ratios returns value/reference for each round, because a disturbance of a round
// affects both. It leaves out rounds that only one of them has.
func Ratios(values, reference []float64) []float64 {
	var ratios []float64
	for i := range min(len(values), len(reference)) {
		if reference[i] > 0 && values[i] > 0 {
			ratios = append(ratios, values[i]/reference[i])
		}
	}
	return ratios
}

// Spread returns half the distance between the quartiles, relative to the median. It
// tells how much the rounds differ. It returns 0 for fewer than three values.
func Spread(values []float64) float64 {
	if len(values) < 3 {
		return 0
	}
	v := slices.Clone(values)
	slices.Sort(v)
	n := float64(len(v) - 1)
	at := func(share float64) float64 {
		i := int(share * n)
		rest := share*n - float64(i)
		return v[i] + rest*(v[min(i+1, len(v)-1)]-v[i])
	}
	if m := Median(v); m > 0 {
		return (at(0.75) - at(0.25)) / 2 / m
	}
	return 0
}
