//! The table of system calls as the program that the kernel runs at each of them.

use super::numbers::number_of;
use crate::seccomp::{Action, Condition, DEFAULT_ERRNO, Rule, rules};

/// `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Instruction {
    code: u16,
    if_true: u8,
    if_false: u8,
    value: u32,
}

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

// Places in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;
const ARGUMENT_BYTES: u32 = 8;
/// From the lower half of an argument to its upper one.
const UPPER: u32 = 4;

const ALLOW: u32 = 0x7FFF_0000;
const ERRNO: u32 = 0x0005_0000;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Calls of the other ABI of an x86-64 machine, which no table of numbers holds, have this bit.
const X32: u32 = 0x4000_0000;

const OWN_ARCHITECTURE: u32 = if cfg!(target_arch = "aarch64") { 0xC000_00B7 } else { 0xC000_003E };

/// The program as bytes of the kernel's layout.
pub(super) fn program() -> Vec<u8> {
    let bytes = |instruction: Instruction| {
        let Instruction { code, if_true, if_false, value } = instruction;
        [&code.to_ne_bytes()[..], &[if_true, if_false], &value.to_ne_bytes()].concat()
    };
    instructions().into_iter().flat_map(bytes).collect()
}

fn instructions() -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE),
        jump(JUMP_EQUAL, OWN_ARCHITECTURE, 1, 0),
        answer(KILL_PROCESS),
        load(NUMBER),
        jump(JUMP_GREATER_EQUAL, X32, 0, 1),
        answer(KILL_PROCESS),
    ];
    let rules = rules();
    let (always, others): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| rule.condition == Condition::Always);
    for rule in always {
        if let Some(number) = number_of(rule.name) {
            program.extend([jump(JUMP_EQUAL, number, 0, 1), answer(result(rule.action))]);
        }
    }
    for group in others.chunk_by(|a, b| a.name == b.name) {
        let Some(number) = number_of(group[0].name) else { continue };
        let mut block: Vec<_> = group.iter().flat_map(|rule| conditional(rule)).collect();
        // The argument has taken the number's place, so the next group could not be asked for.
        block.push(answer(ERRNO | DEFAULT_ERRNO));
        let length = u8::try_from(block.len()).expect("a call has a dozen rules");
        program.push(jump(JUMP_EQUAL, number, 0, length));
        program.extend(block);
    }
    program.push(answer(ERRNO | DEFAULT_ERRNO));
    program
}

/// Answers if the argument is as the rule wants it, else goes on behind.
fn conditional(rule: &Rule) -> Vec<Instruction> {
    let answer = answer(result(rule.action));
    let halves = |value: u64| {
        let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default();
        (u32::try_from(value >> 32).unwrap_or_default(), low)
    };
    match rule.condition {
        Condition::Always => vec![answer],
        Condition::Equal(value) => {
            let (high, low) = halves(value);
            let (first, second) = (jump(JUMP_EQUAL, high, 0, 3), jump(JUMP_EQUAL, low, 0, 1));
            vec![load(ARGUMENTS + UPPER), first, load(ARGUMENTS), second, answer]
        }
        Condition::Above(value) => {
            let (high, low) = halves(value);
            debug_assert_eq!(high, 0, "limits are small");
            // Any bit above makes it larger.
            let (first, second) = (jump(JUMP_EQUAL, 0, 0, 2), jump(JUMP_GREATER, low, 0, 1));
            vec![load(ARGUMENTS + UPPER), first, load(ARGUMENTS), second, answer]
        }
        Condition::Without(index, bits) => {
            let (high, low) = halves(bits);
            let argument = ARGUMENTS + index * ARGUMENT_BYTES;
            let (first, second) = (jump(JUMP_ANY_BIT, high, 3, 0), jump(JUMP_ANY_BIT, low, 1, 0));
            vec![load(argument + UPPER), first, load(argument), second, answer]
        }
    }
}

const fn result(action: Action) -> u32 {
    match action {
        Action::Allow => ALLOW,
        Action::Errno(number) => ERRNO | number,
    }
}

const fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD, if_true: 0, if_false: 0, value: offset }
}

const fn jump(code: u16, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code, if_true, if_false, value }
}

const fn answer(value: u32) -> Instruction {
    Instruction { code: RETURN, if_true: 0, if_false: 0, value }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel would answer.
    fn run(architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let program = instructions();
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let Instruction { code, if_true, if_false, value } = program[at];
            let holds = match code {
                LOAD => {
                    accumulator = match value {
                        NUMBER => number,
                        ARCHITECTURE => architecture,
                        ARGUMENTS..64 => {
                            let argument = arguments[((value - ARGUMENTS) / ARGUMENT_BYTES) as usize];
                            let half =
                                if (value - ARGUMENTS) % ARGUMENT_BYTES == UPPER { argument >> 32 } else { argument };
                            u32::try_from(half & 0xFFFF_FFFF).unwrap()
                        }
                        _ => panic!("nothing lies at {value}"),
                    };
                    at += 1;
                    continue;
                }
                JUMP_EQUAL => accumulator == value,
                JUMP_GREATER => accumulator > value,
                JUMP_GREATER_EQUAL => accumulator >= value,
                JUMP_ANY_BIT => accumulator & value != 0,
                RETURN => return value,
                _ => panic!("code {code}"),
            };
            at += 1 + usize::from(if holds { if_true } else { if_false });
        }
    }

    fn wanted(name: &str, arguments: [u64; 6]) -> u32 {
        let found = rules().into_iter().find(|rule| rule.name == name && rule.condition.holds(arguments));
        found.map_or(ERRNO | DEFAULT_ERRNO, |rule| result(rule.action))
    }

    #[test]
    fn the_program_answers_as_the_table_does() {
        let values = [0, 1, 2, 3, 10, 11, 16, 0x11, 0x003D_0F00, 0x1000_0011, 0x0002_0000, (1 << 32) | 2, u64::MAX];
        let alone = values.map(|value| [value, 0, 0, 0, 0, 0]);
        // Flags and modes, each in each place.
        let modes = [0, 0o755, 0o4755, 0x40, 0x41_0000, (1 << 32) | 0o2000];
        let several = modes.map(|first| modes.map(|second| [first, second, first, second, first, second]));
        let arguments: Vec<[u64; 6]> = alone.into_iter().chain(several.into_iter().flatten()).collect();
        for rule in rules() {
            let Some(number) = number_of(rule.name) else { continue };
            for arguments in &arguments {
                let (found, wanted) = (run(OWN_ARCHITECTURE, number, *arguments), wanted(rule.name, *arguments));
                assert_eq!(found, wanted, "{} {arguments:?}", rule.name);
            }
        }
    }

    #[test]
    fn calls_that_are_not_in_the_table_fail_and_other_abis_are_killed() {
        let known: Vec<u32> = rules().iter().filter_map(|rule| number_of(rule.name)).collect();
        let unknown: Vec<u32> = (0..1_000).filter(|number| !known.contains(number)).collect();
        assert!(unknown.len() > 700);
        for number in unknown {
            assert_eq!(run(OWN_ARCHITECTURE, number, [0; 6]), ERRNO | DEFAULT_ERRNO, "{number}");
        }
        // The 32-bit ABI of the same machine, and x32.
        for (architecture, number) in [(0x4000_0003, 1), (0, 1), (OWN_ARCHITECTURE, X32), (OWN_ARCHITECTURE, u32::MAX)]
        {
            assert_eq!(run(architecture, number, [0; 6]), KILL_PROCESS);
        }
    }

    #[test]
    fn each_call_has_a_number_of_its_own_and_the_program_fits() {
        let rules = rules();
        let mut names: Vec<_> = rules.iter().map(|rule| rule.name).collect();
        names.dedup();
        let mut numbers: Vec<_> = names.iter().filter_map(|name| number_of(name)).collect();
        let (known, all) = (numbers.len(), names.len());
        if cfg!(target_arch = "x86_64") {
            assert_eq!(known, all, "every call of the table is one of x86-64");
            assert_eq!((number_of("read"), number_of("openat"), number_of("clone3")), (Some(0), Some(257), Some(435)));
        }
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), known);
        // The kernel takes 4096 instructions.
        assert!(program().len() / 8 < 700, "{}", program().len() / 8);
    }
}
