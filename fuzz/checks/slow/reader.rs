//! JSON text, byte by byte.

/// How deep the lists and objects within the envelope may stand in each other.
const MAX_DEPTH_WITHIN: usize = 9_999;

pub struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    pub fn byte(&mut self, wanted: u8) -> Option<()> {
        if self.peek()? != wanted {
            return None;
        }
        self.at += 1;
        Some(())
    }

    pub fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    pub fn colon(&mut self) -> Option<()> {
        self.skip_space();
        self.byte(b':')?;
        self.skip_space();
        Some(())
    }

    /// What stands between the quotes.
    pub fn string(&mut self) -> Option<&'a [u8]> {
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
    pub fn value(&mut self) -> Option<&'a [u8]> {
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

    pub fn digits(&mut self) -> Option<()> {
        self.next().filter(u8::is_ascii_digit)?;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Some(())
    }
}
