//! From what an honest peer says to what a hostile one says.

use crate::HEADER;

/// Bytes of one step: what, at which frame (2), where in it (2), how many bytes follow.
const STEP: usize = 6;

/// Frames of `honest`, changed by the steps in `data`; what `data` doesn't touch stays honest, so that every depth of a session can
/// be reached.
pub fn deviate(honest: &[Vec<u8>], mut data: &[u8]) -> Vec<u8> {
    let mut frames: Vec<Vec<u8>> = honest.iter().map(|payload| framed(payload)).collect();
    while let Some((&[what, at0, at1, place0, place1, length], rest)) = data.split_first_chunk::<STEP>() {
        let (words, rest) = rest.split_at(usize::from(length).min(rest.len()));
        data = rest;
        if frames.is_empty() {
            break;
        }
        let at = usize::from(u16::from_le_bytes([at0, at1])) % frames.len();
        let place = usize::from(u16::from_le_bytes([place0, place1]));
        step(&mut frames, what, (at, place), words);
    }
    frames.concat()
}

fn step(frames: &mut Vec<Vec<u8>>, what: u8, (at, place): (usize, usize), words: &[u8]) {
    let payload = frames[at].get(HEADER..).unwrap_or_default().to_vec();
    match what % 12 {
        0 => overwrite(&mut frames[at], HEADER + place, words),
        1 => frames[at] = framed(&payload[..payload.len().saturating_sub(place.max(1))]),
        2 => frames[at] = framed(&[&payload, words].concat()),
        3 => drop(frames.remove(at)),
        4 => frames.insert(at, framed(&payload)),
        5 => {
            let other = place % frames.len();
            frames.swap(at, other);
        }
        6 => overwrite(&mut frames[at], 0, &words[..words.len().min(4)]),
        7 => overwrite(&mut frames[at], 4, &words[..words.len().min(4)]),
        8 => frames.truncate(at),
        9 => frames.insert(at, framed(words)),
        10 => frames[at] = framed(&vec![words.first().copied().unwrap_or(0xff); payload.len()]),
        _ => {
            let kept = frames[at].len().min(place);
            frames[at].truncate(kept);
            frames.truncate(at + 1);
        }
    }
}

fn overwrite(frame: &mut [u8], place: usize, words: &[u8]) {
    let Some(rest) = frame.len().checked_sub(place) else { return };
    let length = rest.min(words.len());
    frame[place..place + length].copy_from_slice(&words[..length]);
}

fn framed(payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    [&length, &1_u32.to_le_bytes(), payload].concat()
}
