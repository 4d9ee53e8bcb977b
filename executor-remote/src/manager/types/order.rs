//! The order of values as Python's `<` has it, for sorting.

use std::cell::Cell;
use std::cmp::Ordering;

use crate::manager::raise;
use crate::object::{Exception, Object};

/// Sorts; what was equal stays in its order. If Python could not compare two of them, everything stays as it was.
pub(super) fn sort(items: &mut [Object], is_reversed: bool) -> Result<(), Exception> {
    let mut places: Vec<usize> = (0..items.len()).collect();
    let refused = Cell::new(None);
    places.sort_by(|&a, &b| {
        let ordering = compare(&items[a], &items[b], &refused);
        if is_reversed { ordering.reverse() } else { ordering }
    });
    if let Some((a, b)) = refused.take() {
        return Err(raise::type_error(format!("'<' not supported between instances of '{a}' and '{b}'")));
    }
    let sorted: Vec<Object> = places.into_iter().map(|at| std::mem::take(&mut items[at])).collect();
    items.iter_mut().zip(sorted).for_each(|(place, item)| *place = item);
    Ok(())
}

/// Two types that have no order between them, by name.
type Refused = Cell<Option<(String, String)>>;

/// A total order: where Python has none, by the kind of value, which is noted.
fn compare(a: &Object, b: &Object, refused: &Refused) -> Ordering {
    match (a, b) {
        (Object::Str(a), Object::Str(b)) => a.cmp(b),
        (Object::Bytes(a) | Object::ByteArray(a), Object::Bytes(b) | Object::ByteArray(b)) => a.cmp(b),
        (Object::List(a), Object::List(b)) | (Object::Tuple(a), Object::Tuple(b)) => {
            let unequal = a.iter().zip(b).find(|(a, b)| !a.equals(b));
            unequal.map_or_else(|| a.len().cmp(&b.len()), |(a, b)| compare(a, b, refused))
        }
        _ => compare_numbers(a, b).unwrap_or_else(|| {
            refused.set(Some((a.type_name().to_owned(), b.type_name().to_owned())));
            a.type_name().cmp(b.type_name())
        }),
    }
}

fn compare_numbers(a: &Object, b: &Object) -> Option<Ordering> {
    match (Number::of(a)?, Number::of(b)?) {
        (Number::Whole(a), Number::Whole(b)) => Some(a.cmp(&b)),
        (Number::Float(a), Number::Float(b)) => Some(compare_floats(a, b)),
        (Number::Whole(a), Number::Float(b)) => Some(compare_mixed(a, b)),
        (Number::Float(a), Number::Whole(b)) => Some(compare_mixed(b, a).reverse()),
    }
}

enum Number {
    Whole(i128),
    Float(f64),
}

impl Number {
    fn of(object: &Object) -> Option<Self> {
        match object {
            Object::Bool(flag) => Some(Self::Whole(i128::from(*flag))),
            Object::Int(number) => Some(Self::Whole(*number)),
            Object::Float(number) => Some(Self::Float(*number)),
            _ => None,
        }
    }
}

/// A NaN, which Python puts anywhere, comes last.
fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Exactly, since rounding the whole number would make the order depend on the pairs that are compared.
fn compare_mixed(whole: i128, float: f64) -> Ordering {
    // 2 to the 127th, which no i128 reaches.
    const BOUND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    if float.is_nan() || float >= BOUND {
        return Ordering::Less;
    }
    if float < -BOUND {
        return Ordering::Greater;
    }
    let fraction = float.fract();
    whole.cmp(&(float.trunc() as i128)).then_with(|| 0.0.partial_cmp(&fraction).unwrap_or(Ordering::Equal))
}
