//! Columns of whole numbers, which the page's script reads again (`assets/data.js`).

/// A number in groups of seven bits, the lowest first, all but the last with the eighth bit set.
pub(crate) fn push(column: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        column.push(value as u8 | 0x80);
        value >>= 7;
    }
    column.push(value as u8);
}

/// The difference of two numbers, small ones short whatever their sign: 0, -1, 1, -2 as 0, 1, 2, 3.
pub(crate) fn push_difference(column: &mut Vec<u8>, value: u64, from: u64) {
    let difference = value.wrapping_sub(from).cast_signed();
    push(column, (difference << 1 ^ difference >> 63).cast_unsigned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes() {
        let of = |value| {
            let mut column = Vec::new();
            push(&mut column, value);
            column
        };
        assert_eq!([of(0), of(127)], [[0], [127]]);
        assert_eq!([of(128), of(300)], [[0x80, 1], [0xac, 2]]);
        assert_eq!(of(u64::MAX), [vec![0xff; 9], vec![1]].concat());

        let mut column = Vec::new();
        for (value, from) in [(5, 5), (4, 5), (6, 5), (3, 5), (0, 1 << 62)] {
            push_difference(&mut column, value, from);
        }
        let mut expected = vec![0, 1, 2, 3];
        push(&mut expected, (1 << 63) - 1);
        assert_eq!(column, expected);
    }
}
