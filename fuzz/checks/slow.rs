//! An envelope read and written byte by byte, as the control plane's own program does it: one
//! rule after the other, without a thought of speed. It knows nothing of the client.

/// The names in the order in which they are signed; the signature itself is not.
pub const NAMES: [&str; 6] =
    ["event_type", "event_id", "issued_at", "nonce", "payload", "signature"];

/// How deep the lists and objects within the envelope may stand in each other.
const MAX_DEPTH_WITHIN: usize = 9_999;

/// What the control plane's program accepts and the client refuses, because no server sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    NotUtf8,
    /// Half a surrogate pair in a name or a known string.
    LoneSurrogate,
    /// A known name in another case.
    OtherCase,
    GivenTwice,
    /// A comma before the fraction of a second.
    Comma,
    OneDigitHour,
    /// CR or LF within the base64.
    LineBreak,
    /// Bits that are set and unused at the end of the base64.
    LooseBits,
}

#[derive(Debug, Default)]
pub struct Envelope {
    pub event_type: String,
    pub event_id: String,
    pub nonce: String,
    pub signature: String,
    pub time: Option<Time>,
    /// As it stands in the text; empty when it is missing.
    pub payload: Vec<u8>,
    /// `"issued_at":""`: no time to the control plane's program, a missing one to the client.
    pub empty_time: bool,
    /// Where the value of the last signature stands.
    pub signature_at: Option<std::ops::Range<usize>>,
    pub forms: Vec<Form>,
}

#[derive(Debug)]
pub struct Time {
    /// As it is signed.
    pub text: String,
    /// It is the instant 0001-01-01T00:00:00Z.
    pub is_zero: bool,
}

/// Rules 1 and 2: one JSON object, its known fields by their names, the last one wins.
pub fn read(data: &[u8]) -> Option<Envelope> {
    let mut reader = Reader { bytes: data, at: 0 };
    let mut envelope = Envelope::default();
    if std::str::from_utf8(data).is_err() {
        envelope.forms.push(Form::NotUtf8);
    }
    let mut seen = [false; NAMES.len()];
    reader.skip_space();
    reader.byte(b'{')?;
    reader.skip_space();
    if reader.byte(b'}').is_none() {
        loop {
            let name = reader.string()?;
            reader.colon()?;
            let start = reader.at;
            let value = reader.value()?;
            let (name, is_lone) = decode(name);
            if is_lone {
                envelope.forms.push(Form::LoneSurrogate);
            }
            if let Some(index) = known(&name) {
                if name != NAMES[index] {
                    envelope.forms.push(Form::OtherCase);
                }
                if std::mem::replace(&mut seen[index], true) {
                    envelope.forms.push(Form::GivenTwice);
                }
                envelope.take(index, value, start)?;
            }
            reader.skip_space();
            match reader.next()? {
                b',' => reader.skip_space(),
                b'}' => break,
                _ => return None,
            }
        }
    }
    reader.skip_space();
    (reader.at == data.len()).then_some(envelope)
}

/// Which known name it is, whatever its case: ASCII, and the two characters beyond it whose
/// other case is ASCII.
fn known(name: &str) -> Option<usize> {
    let folded: String = name
        .chars()
        .map(|character| match character {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            other => other.to_ascii_lowercase(),
        })
        .collect();
    NAMES.iter().position(|known| *known == folded)
}

impl Envelope {
    fn take(&mut self, index: usize, value: &[u8], start: usize) -> Option<()> {
        match NAMES[index] {
            "payload" => self.payload = value.to_vec(),
            _ if value == b"null" => {}
            "issued_at" if value == br#""""# => self.empty_time = true,
            "issued_at" => {
                let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
                self.time = Some(time(inner, &mut self.forms)?);
            }
            name => {
                let inner = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
                let (text, is_lone) = decode(inner);
                if is_lone {
                    self.forms.push(Form::LoneSurrogate);
                }
                match name {
                    "event_type" => self.event_type = text,
                    "event_id" => self.event_id = text,
                    "nonce" => self.nonce = text,
                    _ => {
                        self.signature = text;
                        self.signature_at = Some(start..start + value.len());
                    }
                }
            }
        }
        Some(())
    }

    /// Rule 3: what an envelope needs to be verified.
    pub fn is_complete(&self) -> bool {
        let texts = [&self.event_type, &self.event_id, &self.nonce, &self.signature];
        texts.iter().all(|text| !text.is_empty())
            && !self.empty_time
            && self.time.as_ref().is_some_and(|time| !time.is_zero)
    }

    /// Rules 4 to 7: the bytes that are signed.
    pub fn canonical(&self) -> Vec<u8> {
        let zero = "0001-01-01T00:00:00Z";
        let time = self.time.as_ref().map_or(zero, |time| &time.text);
        let mut out = Vec::new();
        out.extend(b"{\"event_type\":");
        out.extend(quoted(&self.event_type));
        out.extend(b",\"event_id\":");
        out.extend(quoted(&self.event_id));
        out.extend(b",\"issued_at\":\"");
        out.extend(time.bytes());
        out.extend(b"\",\"nonce\":");
        out.extend(quoted(&self.nonce));
        out.extend(b",\"payload\":");
        out.extend(compact(self.payload()));
        out.push(b'}');
        out
    }

    pub fn payload(&self) -> &[u8] {
        if self.payload.is_empty() { b"null" } else { &self.payload }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn byte(&mut self, wanted: u8) -> Option<()> {
        if self.peek()? != wanted {
            return None;
        }
        self.at += 1;
        Some(())
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn colon(&mut self) -> Option<()> {
        self.skip_space();
        self.byte(b':')?;
        self.skip_space();
        Some(())
    }

    /// What stands between the quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.byte(b'"')?;
        let start = self.at;
        loop {
            match self.next()? {
                b'"' => return Some(&self.bytes[start..self.at - 1]),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    /// Any value, as it stands in the text.
    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        // What closes each list and object that is open.
        let mut open = Vec::new();
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                bracket @ (b'[' | b'{') => {
                    self.at += 1;
                    open.push(if bracket == b'[' { b']' } else { b'}' });
                    if open.len() > MAX_DEPTH_WITHIN {
                        return None;
                    }
                    self.skip_space();
                    if self.peek() != open.last().copied() {
                        if bracket == b'{' {
                            self.string()?;
                            self.colon()?;
                        }
                        continue;
                    }
                }
                b't' => self.word(b"true")?,
                b'f' => self.word(b"false")?,
                b'n' => self.word(b"null")?,
                _ => self.number()?,
            }
            // A value has ended, and with it perhaps some of what is open.
            loop {
                let Some(&close) = open.last() else {
                    return Some(&self.bytes[start..self.at]);
                };
                self.skip_space();
                match self.next()? {
                    byte if byte == close => drop(open.pop()),
                    b',' => {
                        // After an empty list this is where a comma would be wrong.
                        self.skip_space();
                        if close == b'}' {
                            self.string()?;
                            self.colon()?;
                        }
                        break;
                    }
                    _ => return None,
                }
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        for &byte in word {
            self.byte(byte)?;
        }
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.byte(b'-');
        if self.byte(b'0').is_none() {
            self.digits()?;
        }
        if self.byte(b'.').is_some() {
            self.digits()?;
        }
        if self.byte(b'e').or_else(|| self.byte(b'E')).is_some() {
            let _ = self.byte(b'+').or_else(|| self.byte(b'-'));
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        self.next().filter(u8::is_ascii_digit)?;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Some(())
    }
}

/// A string's text, and whether half a surrogate pair was in it.
fn decode(raw: &[u8]) -> (String, bool) {
    let (mut text, mut is_lone, mut at) = (String::new(), false, 0);
    while at < raw.len() {
        if raw[at] != b'\\' {
            // One character, or one byte that belongs to none.
            let character = (1..=4).find_map(|length| {
                std::str::from_utf8(raw.get(at..at + length)?).ok()?.chars().next()
            });
            text.push(character.unwrap_or('\u{fffd}'));
            at += character.map_or(1, char::len_utf8);
            continue;
        }
        at += 2;
        match raw[at - 1] {
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'u' => {
                let first = hex(&raw[at..]).unwrap_or_default();
                at += 4;
                let second = raw[at..].strip_prefix(br"\u").and_then(hex).unwrap_or_default();
                let is_pair =
                    (0xd800..0xdc00).contains(&first) && (0xdc00..0xe000).contains(&second);
                if is_pair {
                    at += 6;
                    let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                    text.push(char::from_u32(code).unwrap());
                } else {
                    is_lone |= char::from_u32(first).is_none();
                    text.push(char::from_u32(first).unwrap_or('\u{fffd}'));
                }
            }
            other => text.push(char::from(other)),
        }
    }
    (text, is_lone)
}

fn hex(raw: &[u8]) -> Option<u32> {
    u32::from_str_radix(std::str::from_utf8(raw.get(..4)?).ok()?, 16).ok()
}

/// Rule 5.
fn quoted(text: &str) -> Vec<u8> {
    let mut out = vec![b'"'];
    for character in text.chars() {
        let escaped = match character {
            '"' => r#"\""#.to_owned(),
            '\\' => r"\\".to_owned(),
            '\u{8}' => r"\b".to_owned(),
            '\u{c}' => r"\f".to_owned(),
            '\n' => r"\n".to_owned(),
            '\r' => r"\r".to_owned(),
            '\t' => r"\t".to_owned(),
            '\u{0}'..='\u{1f}' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                format!("\\u{:04x}", u32::from(character))
            }
            other => other.to_string(),
        };
        out.extend(escaped.bytes());
    }
    out.push(b'"');
    out
}

/// Rule 7.
fn compact(payload: &[u8]) -> Vec<u8> {
    let (mut out, mut in_string, mut escaped, mut at) = (Vec::new(), false, false, 0);
    while at < payload.len() {
        let rest = &payload[at..];
        let was_escaped = std::mem::take(&mut escaped);
        at += 1;
        match rest[0] {
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => {}
            b'<' => out.extend(br"\u003c"),
            b'>' => out.extend(br"\u003e"),
            b'&' => out.extend(br"\u0026"),
            0xe2 if rest.starts_with("\u{2028}".as_bytes()) => {
                out.extend(br"\u2028");
                at += 2;
            }
            0xe2 if rest.starts_with("\u{2029}".as_bytes()) => {
                out.extend(br"\u2029");
                at += 2;
            }
            byte => {
                match byte {
                    b'"' if !was_escaped => in_string = !in_string,
                    b'\\' if !was_escaped => escaped = true,
                    _ => {}
                }
                out.push(byte);
            }
        }
    }
    out
}

/// Rule 6.
fn time(raw: &[u8], forms: &mut Vec<Form>) -> Option<Time> {
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
    let offset = match reader.next()? {
        b'Z' => 0,
        sign @ (b'+' | b'-') => {
            let hours = number(&mut reader, 2)?;
            reader.byte(b':')?;
            let minutes = number(&mut reader, 2)?;
            let total = hours * 60 + minutes;
            if minutes > 60 || total >= 24 * 60 {
                return None;
            }
            if sign == b'-' { -total } else { total }
        }
        _ => return None,
    };
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
    // Minutes since the zero's midnight, which with an offset may be a day earlier.
    let minutes = hour * 60 + minute;
    let since_zero = match (year, month, day) {
        (1, 1, 1) => Some(minutes),
        (0, 12, 31) => Some(minutes - 24 * 60),
        _ => None,
    };
    let is_zero = since_zero == Some(offset) && second == 0 && fraction.is_empty();
    Some(Time { text, is_zero })
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

/// Rule 8: the bytes, and the forms that the client refuses.
pub fn base64(text: &str) -> Option<(Vec<u8>, Vec<Form>)> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut forms = Vec::new();
    let wanted: Vec<char> = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    if wanted.len() != text.chars().count() {
        forms.push(Form::LineBreak);
    }
    let mut bits = Vec::new();
    let padding = wanted.iter().rev().take_while(|c| **c == '=').count();
    if wanted.len() % 4 != 0 || padding > 2 {
        return None;
    }
    for character in &wanted[..wanted.len() - padding] {
        let value = ALPHABET.find(*character)?;
        bits.extend((0..6).rev().map(|bit| value >> bit & 1));
    }
    let whole = bits.len() / 8 * 8;
    if bits[whole..].contains(&1) {
        forms.push(Form::LooseBits);
    }
    let byte = |bits: &[usize]| bits.iter().fold(0, |byte, bit| byte * 2 + *bit as u8);
    Some((bits[..whole].chunks(8).map(byte).collect(), forms))
}
