// rust_model.rs - a model through edgekit.rs and its own .rs: samples from stdin, outputs to stdout,
// each sample in every way that there is. MODEL_RS and EDGEKIT_RS are replaced by their paths.
#[path = "EDGEKIT_RS"]
mod edgekit;
#[path = "MODEL_RS"]
mod model;

use edgekit::{Aligned, Error, Model, Run, Step, EMPTY, MODEL_BYTES};
use std::io::{Read, Write};

extern "C" {
    static model_bytes_in_c: usize;
    static slots_in_c: usize;
}

static mut ARENA: Aligned<[u8; model::ARENA_BYTES]> = Aligned([0; model::ARENA_BYTES]);

fn main() {
    assert_eq!(MODEL_BYTES, unsafe { model_bytes_in_c });
    let file = std::fs::read(std::env::args().nth(1).unwrap()).unwrap();
    // 16-byte aligned, wherever the vector lies.
    let mut room = vec![0u8; file.len() + 16];
    let shift = room.as_ptr().align_offset(16);
    room[shift..shift + file.len()].copy_from_slice(&file);
    let bundle = &room[shift..shift + file.len()];
    let arena = unsafe { &mut *core::ptr::addr_of_mut!(ARENA.0) };
    let mut slots = vec![EMPTY; unsafe { slots_in_c }];

    let refusal = Model::open(&bundle[..bundle.len() - 16], &mut slots, arena).err().unwrap();
    assert_eq!(refusal.error, Error::Truncated);
    let short = Model::open(bundle, &mut slots, &mut arena[16..]).err().unwrap();
    assert_eq!((short.error, short.arena_bytes), (Error::ArenaTooSmall, model::ARENA_BYTES as u32));
    assert_eq!(Model::open(bundle, &mut slots[1..], arena).err().unwrap().error, Error::TooManyCalls);

    let mut interpreter = Model::open(bundle, &mut slots, arena).ok().unwrap();
    assert!(interpreter.input::<i8>(1).is_none() && interpreter.state::<i8>(0).is_none());
    assert!(interpreter.output::<i32>(0).is_none()); // ten bytes
    let mut beyond = Run { next: u32::MAX };
    assert_eq!(interpreter.step(&mut beyond), Err(Error::State));

    let mut ahead = unsafe { model::Model::new() };
    let (mut x, mut y): (model::Input, model::Output) = ([0; 64], [0; 10]);
    let elements: usize = model::INPUT_SHAPE.iter().product();
    assert!(elements == x.len() && model::INPUT_SCALE > 0.0 && model::OUTPUT_ZERO_POINT >= -128);

    let mut samples = Vec::new();
    std::io::stdin().read_to_end(&mut samples).unwrap();
    let mut out = std::io::stdout();
    let mut write = |y: &[i8]| out.write_all(&y.iter().map(|v| *v as u8).collect::<Vec<_>>()).unwrap();
    for sample in samples.chunks_exact(x.len()) {
        for (to, from) in x.iter_mut().zip(sample) {
            *to = *from as i8;
        }
        interpreter.input(0).unwrap().copy_from_slice(&x);
        interpreter.invoke().unwrap();
        write(interpreter.output(0).unwrap());

        interpreter.input(0).unwrap().copy_from_slice(&x);
        let mut run = Run::default();
        while interpreter.step(&mut run).unwrap() == Step::More {}
        write(interpreter.output(0).unwrap());

        ahead.invoke(&x, &mut y);
        write(&y);

        *ahead.input_mut() = x;
        ahead.run();
        write(ahead.output());

        *ahead.input_mut() = x;
        while ahead.step(&mut run).unwrap() == Step::More {}
        write(ahead.output());
    }
}
