//! Process 1: starts the program, passes signals on, and takes the status of every orphan.

use crate::Texts;
use crate::kernel::{call, exit, number};
use crate::search;

const SIGCHLD: i32 = 17;
const PR_SET_DUMPABLE: usize = 4;
const SIG_SETMASK: usize = 2;
const WNOHANG: usize = 1;
const TIOCSPGRP: usize = 0x5410;

/// Runs until the program has ended, and ends as it did: with its code, or 128 and the signal.
///
/// # Safety
/// Both lists must be those of a new program's stack, the first with at least one text.
pub unsafe fn run(program: Texts, envp: Texts, fd: i32) -> ! {
    // Nobody inside is to trace us: who did could take back that we end with the host, which programs of their own can.
    call(number::PRCTL, [PR_SET_DUMPABLE, 0, 0, 0, 0, 0]);
    mask(u64::MAX);
    let child = call(number::CLONE, [SIGCHLD as usize, 0, 0, 0, 0, 0]);
    if child == 0 {
        // In a group of its own, at the terminal if there is one: ^C is for the program, not for us.
        call(number::SETPGID, [0; 6]);
        foreground();
        mask(0);
        // SAFETY: the caller's promise.
        unsafe { search::execute(program, envp, fd) }
    }
    call(number::CLOSE, [fd as usize, 0, 0, 0, 0, 0]);
    if child < 0 {
        exit(126);
    }
    loop {
        match next_signal() {
            SIGCHLD => reap(child),
            signal if signal > 0 => {
                call(number::KILL, [child as usize, signal as usize, 0, 0, 0, 0]);
            }
            _ => {}
        }
    }
}

/// Takes every status there is; ends when it is the program's.
fn reap(child: isize) {
    loop {
        let mut status = 0i32;
        let pid = call(number::WAIT4, [usize::MAX, &raw mut status as usize, WNOHANG, 0, 0, 0]);
        if pid <= 0 {
            return;
        }
        if pid == child {
            let signal = status & 0x7f;
            exit(if signal == 0 { (status >> 8) & 0xff } else { 128 + signal } as usize);
        }
    }
}

fn foreground() {
    let group = call(number::GETPID, [0; 6]) as i32;
    // Without a terminal this fails, and that is right.
    call(number::IOCTL, [0, TIOCSPGRP, &raw const group as usize, 0, 0, 0]);
}

fn mask(set: u64) {
    call(number::RT_SIGPROCMASK, [SIG_SETMASK, &raw const set as usize, 0, 8, 0, 0]);
}

fn next_signal() -> i32 {
    let all = u64::MAX;
    call(number::RT_SIGTIMEDWAIT, [&raw const all as usize, 0, 0, 8, 0, 0]) as i32
}
