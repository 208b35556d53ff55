//! The time of an envelope.

use super::Form;
use super::reader::Reader;

#[derive(Debug)]
pub struct Time {
    /// As it is signed.
    pub text: String,
    /// It is the instant 0001-01-01T00:00:00Z.
    pub is_zero: bool,
}

/// Rule 6.
pub fn time(raw: &[u8], forms: &mut Vec<Form>) -> Option<Time> {
    let mut reader = Reader { bytes: raw, at: 0 };
    let year = number(&mut reader, 4)?;
    reader.byte(b'-')?;
    let month = number(&mut reader, 2)?;
    reader.byte(b'-')?;
    let day = number(&mut reader, 2)?;
    reader.byte(b'T')?;
    let hour = if raw.get(reader.at + 1) == Some(&b':') {
        forms.push(Form::OneDigitHour);
        number(&mut reader, 1)?
    } else {
        number(&mut reader, 2)?
    };
    reader.byte(b':')?;
    let minute = number(&mut reader, 2)?;
    reader.byte(b':')?;
    let second = number(&mut reader, 2)?;
    let mut fraction = String::new();
    if let Some(mark @ (b'.' | b',')) = reader.peek() {
        if mark == b',' {
            forms.push(Form::Comma);
        }
        reader.at += 1;
        let start = reader.at;
        reader.digits()?;
        fraction = raw[start..reader.at].iter().take(9).map(|&digit| char::from(digit)).collect();
    }
    let fraction = fraction.trim_end_matches('0');
    let offset = offset(&mut reader)?;
    let is_date = (1..=12).contains(&month) && day >= 1 && day <= days(year, month);
    if reader.at != raw.len() || !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if !fraction.is_empty() {
        text += &format!(".{fraction}");
    }
    text += &match offset {
        0 => "Z".to_owned(),
        1.. => format!("+{:02}:{:02}", offset / 60, offset % 60),
        _ => format!("-{:02}:{:02}", -offset / 60, -offset % 60),
    };
    let since_zero = since_zero(year, month, day, hour * 60 + minute);
    let is_zero = since_zero == Some(offset) && second == 0 && fraction.is_empty();
    Some(Time { text, is_zero })
}

/// Minutes east of Greenwich.
fn offset(reader: &mut Reader<'_>) -> Option<i32> {
    match reader.next()? {
        b'Z' => Some(0),
        sign @ (b'+' | b'-') => {
            let hours = number(reader, 2)?;
            reader.byte(b':')?;
            let minutes = number(reader, 2)?;
            let total = hours * 60 + minutes;
            if minutes > 60 || total >= 24 * 60 {
                return None;
            }
            Some(if sign == b'-' { -total } else { total })
        }
        _ => None,
    }
}

/// Minutes since the zero's midnight, which with an offset may be a day earlier.
fn since_zero(year: i32, month: i32, day: i32, minutes: i32) -> Option<i32> {
    match (year, month, day) {
        (1, 1, 1) => Some(minutes),
        (0, 12, 31) => Some(minutes - 24 * 60),
        _ => None,
    }
}

fn number(reader: &mut Reader<'_>, digits: usize) -> Option<i32> {
    let mut number = 0;
    for _ in 0..digits {
        number = number * 10 + i32::from(reader.next().filter(u8::is_ascii_digit)? - b'0');
    }
    Some(number)
}

/// How many days a month has.
pub fn days(year: i32, month: i32) -> i32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
