"""Rows of tables by bits-back coding, with columns of all kinds."""

from small_tables import columns, rows, table_vae

from vaekit.codec.chain import bits_back_chain, chain_items
from vaekit.codec.latents import latent_grid
from vaekit.domains.tables.lossless import LosslessRows, coded_columns


def test_rows_of_all_kinds_of_columns_come_back() -> None:
    """Also with columns that have one value, as a number and as a text, and with missing cells."""
    table = columns() | {"year": ["2024"] * 60, "country": ["Italy"] * 60}
    vae, schema = table_vae(table)
    for name, row in (("year", 3), ("color", 5), ("size", 6)):
        table[name][row] = ""
    table["country"][4] = "Peru"
    coded = coded_columns(schema)
    assert sum(column.cells == 1 for column in coded) == 2
    x = schema.to_tensor(rows(table))
    coding = LosslessRows(schema, coded).coding(vae.double(), latent_grid(vae, x))
    back = chain_items(coding, bits_back_chain(coding, x, 2).content, len(x))
    assert schema.to_items(back) == schema.to_items(coding.canonical(x))
    assert [each["year"] for each in schema.to_items(back)] == ["" if i == 3 else "2024" for i in range(60)]
