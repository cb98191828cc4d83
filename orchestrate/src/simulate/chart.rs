//! The pods by state, drawn.

use super::timeline::Timeline;
use std::fmt::Write;

const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;
/// From the bottom of the stack to its top; colours that remain apart for the colour-blind (Okabe and Ito).
const STATES: [(&str, &str); 7] = [
    ("Ready", "#009e73"),
    ("Succeeded", "#56b4e9"),
    ("Starting", "#f0e442"),
    ("Unready", "#e69f00"),
    ("Ending", "#cc79a7"),
    ("Pending", "#999999"),
    ("Failed", "#d55e00"),
];

impl Timeline {
    /// An SVG chart: the numbers of pods by state, stacked, over the time.
    pub fn to_svg(&self) -> String {
        let samples = self.samples();
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else {
            return svg("");
        };
        let span = last.time.duration_since(first.time).as_secs_f64().max(1.0);
        let most = samples
            .iter()
            .map(|sample| sample.pods.values().sum::<usize>())
            .max();
        let most = most.unwrap_or(0).max(1) as f64;
        let x =
            |at: usize| samples[at].time.duration_since(first.time).as_secs_f64() / span * WIDTH;
        let mut below = vec![0.0; samples.len()];
        let mut body = String::new();
        for (state, colour) in STATES {
            let count = |at: usize| samples[at].pods.get(state).copied().unwrap_or(0) as f64;
            let above: Vec<f64> = (0..samples.len())
                .map(|at| below[at] + count(at) / most * HEIGHT)
                .collect();
            if above != below {
                let mut points = String::new();
                outline(&mut points, &above, x, false);
                outline(&mut points, &below, x, true);
                // Writing into a string cannot fail.
                let _ = writeln!(
                    body,
                    "<polygon fill=\"{colour}\" points=\"{points}\"><title>{state}</title></polygon>"
                );
            }
            below = above;
        }
        for (at, (state, colour)) in STATES.iter().enumerate() {
            let left = 10 + at * 110;
            let _ = writeln!(
                body,
                "<rect x=\"{left}\" y=\"335\" width=\"12\" height=\"12\" fill=\"{colour}\"/>"
            );
            let _ = writeln!(body, "<text x=\"{}\" y=\"346\">{state}</text>", left + 17);
        }
        svg(&body)
    }
}

/// The steps along the upper edge, or back along the lower.
fn outline(points: &mut String, heights: &[f64], x: impl Fn(usize) -> f64, back: bool) {
    let mut steps = Vec::new();
    for at in 0..heights.len() {
        if at > 0 {
            steps.push((x(at), heights[at - 1]));
        }
        steps.push((x(at), heights[at]));
    }
    if back {
        steps.reverse();
    }
    for (x, height) in steps {
        let _ = write!(points, "{x:.1},{:.1} ", HEIGHT - height);
    }
}

fn svg(body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 960 360\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"960\" height=\"360\" fill=\"white\"/>\n{body}</svg>\n"
    )
}
