//! Rounds in which every contestant has one turn, in shuffled order: a noisy machine is noisy for all.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// One start: until the program was executed, where that can be seen, and until it was gone.
pub type Sample = (Option<Duration>, Duration);

/// Somebody who starts a program and waits for its end.
pub struct Contestant<'a> {
    pub name: String,
    /// In how many of the rounds it takes part: slow ones rest.
    pub every: u32,
    pub turn: Box<dyn FnMut() -> anyhow::Result<Sample> + 'a>,
}

impl<'a> Contestant<'a> {
    pub fn new(
        name: impl Into<String>,
        every: u32,
        turn: impl FnMut() -> anyhow::Result<Sample> + 'a,
    ) -> Contestant<'a> {
        Contestant {
            name: name.into(),
            every,
            turn: Box::new(turn),
        }
    }
}

/// Minimum and percentiles, in microseconds.
#[derive(Clone, Copy, Default)]
pub struct Figures {
    pub count: usize,
    pub min: f64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Figures {
    pub fn of(samples: &mut [Duration]) -> Option<Figures> {
        samples.sort_unstable();
        let at = |share: f64| {
            let index = ((samples.len() - 1) as f64 * share).round() as usize;
            samples[index].as_nanos() as f64 / 1e3
        };
        (!samples.is_empty()).then(|| Figures {
            count: samples.len(),
            min: at(0.0),
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
        })
    }

    pub fn to_json(self) -> Value {
        json!({"count": self.count, "min": self.min, "p50": self.p50, "p95": self.p95, "p99": self.p99})
    }
}

/// What became of one contestant.
pub struct Row {
    pub name: String,
    pub executed: Option<Figures>,
    pub ended: Option<Figures>,
    pub failures: BTreeMap<String, u32>,
}

impl Row {
    pub fn of(name: String, samples: Vec<Sample>) -> Row {
        let mut executed: Vec<Duration> = samples.iter().filter_map(|(e, _)| *e).collect();
        let mut ended: Vec<Duration> = samples.iter().map(|(_, ended)| *ended).collect();
        Row {
            name,
            executed: Figures::of(&mut executed),
            ended: Figures::of(&mut ended),
            failures: BTreeMap::new(),
        }
    }
}

/// Rounds, until there are enough or the time is over.
pub fn race(mut contestants: Vec<Contestant<'_>>, rounds: u32, most: Duration) -> Vec<Row> {
    let began = Instant::now();
    let count = contestants.len();
    let mut executed = vec![Vec::new(); count];
    let mut ended = vec![Vec::new(); count];
    let mut failures = vec![BTreeMap::<String, u32>::new(); count];
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut order: Vec<usize> = (0..count).collect();
    for round in 0..rounds {
        if began.elapsed() > most {
            break;
        }
        for index in (1..count).rev() {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            order.swap(index, random as usize % (index + 1));
        }
        for &index in &order {
            let contestant = &mut contestants[index];
            if round % contestant.every != 0 || failures[index].values().sum::<u32>() > 5 {
                continue;
            }
            match (contestant.turn)() {
                // The first round warms up.
                Ok(_) if round == 0 => {}
                Ok((execution, end)) => {
                    executed[index].extend(execution);
                    ended[index].push(end);
                }
                Err(error) => *failures[index].entry(format!("{error:#}")).or_default() += 1,
            }
        }
    }
    let rows = contestants.iter().zip(executed).zip(ended).zip(failures);
    rows.map(|(((contestant, mut executed), mut ended), failures)| Row {
        name: contestant.name.clone(),
        executed: Figures::of(&mut executed),
        ended: Figures::of(&mut ended),
        failures,
    })
    .collect()
}

/// The rows as a table in Markdown; ratios are those of the medians, to the row of that name.
pub fn print(title: &str, rows: &[Row], to: &str) {
    println!("\n### {title}\n");
    println!("| p50 (min; p95; p99) in µs | until executed | × | until gone | × | n |");
    println!("|---|---|---|---|---|---|");
    let base = rows.iter().find(|row| row.name == to);
    let cell = |figures: Option<Figures>| {
        figures.map_or("–".to_string(), |f| {
            format!(
                "**{:.0}** ({:.0}; {:.0}; {:.0})",
                f.p50, f.min, f.p95, f.p99
            )
        })
    };
    let ratio = |figures: Option<Figures>, base: Option<Figures>| match (figures, base) {
        (Some(figures), Some(base)) => format!("{:.2}", figures.p50 / base.p50),
        _ => "–".to_string(),
    };
    for row in rows {
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            row.name,
            cell(row.executed),
            ratio(row.executed, base.and_then(|base| base.executed)),
            cell(row.ended),
            ratio(row.ended, base.and_then(|base| base.ended)),
            row.ended.map_or(0, |figures| figures.count),
        );
    }
    for row in rows {
        for (failure, count) in &row.failures {
            println!("\n{} failed {count} times: {failure}", row.name);
        }
    }
}

pub fn to_json(rows: &[Row]) -> Value {
    let rows = rows.iter().map(|row| {
        let figures = |figures: Option<Figures>| figures.map_or(Value::Null, Figures::to_json);
        let value = json!({
            "executed_us": figures(row.executed),
            "ended_us": figures(row.ended),
            "failures": row.failures,
        });
        (row.name.clone(), value)
    });
    Value::Object(rows.collect::<Map<_, _>>())
}
