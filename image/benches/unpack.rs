//! How fast a layer is unpacked, beside what decompression and file creation cost alone.
//!
//! `cargo bench -p ampoule-image --bench unpack -- LAYER DIRECTORY [REPETITIONS]`: the parts are measured in turn, so that a
//! change of the machine's speed meets all of them. The processor time (user and system, children included) is what stays
//! comparable on a machine that others use too.
#![allow(clippy::print_stdout)]

use ampoule_image::{Algorithm, Hasher, UnpackOptions, unpack};
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::Path;
use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .collect();
    let [layer, directory, rest @ ..] = arguments.as_slice() else {
        println!("unpack: give LAYER DIRECTORY [REPETITIONS] to measure something");
        return;
    };
    let repetitions = rest
        .first()
        .map_or(5, |count| count.parse().expect("a number"));
    let mut times: Vec<[Cost; 4]> = Vec::new();
    for _ in 0..repetitions {
        times.push([
            seconds(|| inflate(layer, |_| ())),
            seconds(|| {
                let mut hasher = Hasher::new(Algorithm::Sha256);
                inflate(layer, |chunk| hasher.update(chunk));
            }),
            in_directory(directory, || {
                let unpacked = unpack(
                    File::open(layer).unwrap(),
                    Path::new(directory),
                    &UnpackOptions::default(),
                )
                .unwrap();
                unpacked.settle(Path::new(directory), &[]).unwrap();
            }),
            in_directory(directory, || {
                let tar = [
                    "-x",
                    "--numeric-owner",
                    "--xattrs",
                    "-p",
                    "-C",
                    directory,
                    "-f",
                    layer,
                ];
                assert!(
                    std::process::Command::new("tar")
                        .args(tar)
                        .status()
                        .unwrap()
                        .success()
                );
            }),
        ]);
    }
    for (index, name) in ["inflate", "inflate + hash, one thread", "unpack", "GNU tar"]
        .iter()
        .enumerate()
    {
        let column = |part: fn(&Cost) -> f64| {
            let mut column: Vec<f64> = times.iter().map(|row| part(&row[index])).collect();
            column.sort_by(f64::total_cmp);
            format!(
                "min {:.2} median {:.2}",
                column[0],
                column[column.len() / 2]
            )
        };
        println!(
            "{name:28} wall {} s   processor {} s",
            column(|cost| cost.wall),
            column(|cost| cost.processor)
        );
    }
}

struct Cost {
    wall: f64,
    processor: f64,
}

fn seconds(work: impl FnOnce()) -> Cost {
    let (start, used) = (Instant::now(), processor_time());
    work();
    Cost {
        wall: start.elapsed().as_secs_f64(),
        processor: processor_time() - used,
    }
}

fn processor_time() -> f64 {
    let of = |who| {
        let usage = nix::sys::resource::getrusage(who).unwrap();
        let seconds =
            |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
        seconds(usage.user_time()) + seconds(usage.system_time())
    };
    use nix::sys::resource::UsageWho::{RUSAGE_CHILDREN, RUSAGE_SELF};
    of(RUSAGE_SELF) + of(RUSAGE_CHILDREN)
}

fn in_directory(directory: &str, work: impl FnOnce()) -> Cost {
    fs::create_dir(directory).unwrap();
    let cost = seconds(work);
    fs::remove_dir_all(directory).unwrap();
    cost
}

fn inflate(layer: &str, mut each: impl FnMut(&[u8])) {
    let packed = BufReader::with_capacity(128 << 10, File::open(layer).unwrap());
    let mut plain = flate2::bufread::MultiGzDecoder::new(packed);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match plain.read(&mut buffer).unwrap() {
            0 => break,
            count => each(&buffer[..count]),
        }
    }
}
