//! Lists of counts on the command line: `1,8,64`, `1k-128k*2`, `512-2048+512`.

use std::str::FromStr;

/// More values than this are a slip of the pen.
const MOST: usize = 1000;

/// The values of a list, in order, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Counts(pub(crate) Vec<usize>);

impl FromStr for Counts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut values = Vec::new();
        for part in text.split(',') {
            for value in part_of(part.trim())? {
                if !values.contains(&value) {
                    values.push(value);
                }
                if values.len() > MOST {
                    return Err(format!("'{text}' has more than {MOST} values"));
                }
            }
        }
        Ok(Self(values))
    }
}

/// One number: decimal digits and perhaps k (1024) or m (1024 x 1024).
pub(crate) fn count(text: &str) -> Result<usize, String> {
    let lower = text.to_lowercase();
    let (digits, unit) = match lower.as_bytes().last() {
        Some(b'k') => (&lower[..lower.len() - 1], 1024),
        Some(b'm') => (&lower[..lower.len() - 1], 1024 * 1024),
        _ => (lower.as_str(), 1),
    };
    let value = digits.parse::<usize>().ok().and_then(|n| n.checked_mul(unit)).filter(|n| *n > 0);
    value.filter(|n| *n <= 1 << 31).ok_or_else(|| {
        format!("'{text}' is no count; write a whole number of at least 1, such as 8 or 4k (4096)")
    })
}

fn part_of(part: &str) -> Result<Vec<usize>, String> {
    let Some((first, rest)) = part.split_once('-') else { return Ok(vec![count(part)?]) };
    let step = |at: usize| Ok::<_, String>((count(&rest[..at])?, count(&rest[at + 1..])?));
    let next: Box<dyn Fn(usize) -> usize>;
    let last = if let Some(at) = rest.find('*') {
        let (last, factor) = step(at)?;
        if factor < 2 {
            return Err(format!("'{part}' never ends: a factor is at least 2"));
        }
        next = Box::new(move |n| n.saturating_mul(factor));
        last
    } else if let Some(at) = rest.find('+') {
        let (last, add) = step(at)?;
        next = Box::new(move |n| n.saturating_add(add));
        last
    } else {
        return Err(format!("'{part}' has no step; write {part}*2 or {part}+1k"));
    };
    let first = count(first)?;
    if first > last {
        return Err(format!("'{part}' ends before it begins"));
    }
    Ok(std::iter::successors(Some(first), |n| Some(next(*n)))
        .take_while(|n| *n <= last)
        .take(MOST + 1)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<usize> {
        text.parse::<Counts>().unwrap().0
    }

    #[test]
    fn lists_and_ranges_expand_in_order() {
        assert_eq!(values("1,8,64"), [1, 8, 64]);
        assert_eq!(values("1k-8k*2"), [1024, 2048, 4096, 8192]);
        assert_eq!(values("512-2k+512,1"), [512, 1024, 1536, 2048, 1]);
        assert_eq!(values("3-10*2,6"), [3, 6]);
    }

    #[test]
    fn what_is_no_list_is_named() {
        let error = |text: &str| text.parse::<Counts>().unwrap_err();
        assert!(error("0").contains("'0' is no count"));
        assert!(error("1,x").contains("'x' is no count"));
        assert!(error("1-8").contains("write 1-8*2 or 1-8+1k"));
        assert!(error("8-1*2").contains("ends before it begins"));
        assert!(error("1-8*1").contains("never ends"));
        assert!(error("1-1m+1").contains("more than 1000 values"));
        assert!(error("").contains("is no count"));
    }
}
