//! How fast a layer is unpacked, beside what decompression and file creation cost alone.
//!
//! `cargo bench -p ampoule-image --bench unpack -- LAYER DIRECTORY [REPETITIONS]`: the parts are measured in turn, so that a
//! change of the machine's speed meets all of them.
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
    let mut times: Vec<[f64; 4]> = Vec::new();
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
        let mut column: Vec<f64> = times.iter().map(|row| row[index]).collect();
        column.sort_by(f64::total_cmp);
        println!(
            "{name:28} min {:.2} s  median {:.2} s",
            column[0],
            column[column.len() / 2]
        );
    }
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn in_directory(directory: &str, work: impl FnOnce()) -> f64 {
    fs::create_dir(directory).unwrap();
    let time = seconds(work);
    fs::remove_dir_all(directory).unwrap();
    time
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
