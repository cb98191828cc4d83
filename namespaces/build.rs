//! Compiles the program that lives inside of containers: one file of a few kilobytes, embedded in the library.
//!
//! Cargo cannot yet build one package's binary for another's library, so the compiler is called here. The program needs
//! nothing but `core`.

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=init");
    println!("cargo::rerun-if-changed=src/child");
    let output = PathBuf::from(env::var("OUT_DIR")?).join("ampoule-init");
    let mut rustc = Command::new(env::var("RUSTC")?);
    rustc.args([
        "--edition",
        "2024",
        "--crate-type",
        "bin",
        "--crate-name",
        "ampoule_init",
    ]);
    rustc.args(["--target", &env::var("TARGET")?]);
    for option in [
        "opt-level=s",
        "panic=abort",
        "relocation-model=static",
        "strip=symbols",
        "codegen-units=1",
    ] {
        rustc.args(["-C", option]);
    }
    // No start files, no libc, one segment that is read and executed and one that is written: it maps in microseconds.
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-Wl,--build-id=none",
        "-Wl,-z,noseparate-code",
    ] {
        rustc.args(["-C", &format!("link-arg={argument}")]);
    }
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    rustc.arg("-o").arg(&output).arg("init/main.rs");
    let built = rustc.status()?;
    if !built.success() {
        return Err(
            format!("the program for the inside of containers does not build: {rustc:?}").into(),
        );
    }
    Ok(())
}
