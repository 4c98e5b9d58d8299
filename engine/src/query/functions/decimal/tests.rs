use super::Decimal;

fn decimal(text: &str) -> Decimal {
    Decimal::parse(text).expect(text)
}

#[test]
fn elementary_functions_have_postgresqls_digits() {
    let shown = |value: Result<Decimal, _>| value.expect("in range").to_string();
    assert_eq!(shown(decimal("1.0").exp()), "2.7182818284590452");
    assert_eq!(shown(decimal("32.999").exp()), "214429043492155.053");
    assert_eq!(shown(decimal("-32.999").exp()), "0.000000000000004663547361468248");
    assert_eq!(shown(decimal("1.2345678e-28").ln()), "-64.26166165451762991204894255882820859");
    assert_eq!(shown(decimal("0.99949452").ln()), "-0.00050560779808326467");
    assert_eq!(
        shown(decimal("0.349873948359354029493948309745709580730482050975").ln()),
        "-1.050182336912082775693991697979750253056317885460"
    );
    let ten = decimal("10");
    assert_eq!(shown(decimal("4.2").log(&ten)), "0.6232492903979005");
    assert_eq!(
        shown(decimal("3.4634998359873254962349856073435545").log(&ten)),
        "0.5395151714070134409152404011959981"
    );
    assert_eq!(shown(decimal("3.789").power(&decimal("21"))), "1409343026052.8716016316022141");
    assert_eq!(
        shown(decimal("1.2").power(&decimal("345"))),
        "2077446682327378559843444695.5827049735727869"
    );
    assert_eq!(
        shown(decimal("0.12").power(&decimal("-20"))),
        "2608405330458882702.5529619561355838"
    );
}

#[test]
fn sizes_are_counted_in_decimal_digits() {
    for digits in [1_u32, 18, 19, 20, 38, 39, 40, 77, 200, 1000] {
        let power = num_bigint::BigUint::from(10_u8).pow(digits - 1);
        assert_eq!(super::decimal_digits(&power), u64::from(digits));
        let below = num_bigint::BigUint::from(10_u8).pow(digits) - 1_u8;
        assert_eq!(super::decimal_digits(&below), u64::from(digits));
    }
    assert_eq!(super::decimal_digits(&num_bigint::BigUint::ZERO), 0);
    assert!(!decimal("9.9e131071").overflows());
    assert!(decimal("9.9e131072").overflows());
}
