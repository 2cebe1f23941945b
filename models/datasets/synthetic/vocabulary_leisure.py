"""The second half of the synthetic newspaper's words: sports, travel, food, homes, culture and the like."""

from __future__ import annotations

from freshet.models.datasets.synthetic.vocabulary import vocabulary

LEISURE = (
    vocabulary(
        "sports",
        "football",
        "teenage striker/the race for the golden boot; goalkeeper/penalty shoot-outs; league newcomer/the "
        "fight against relegation; cup holder/the cup final; football coach/tactics at half-time; women's "
        "team/the women's league",
        "wins the derby in stoppage time; misses a late penalty; signs a three-year contract; drops "
        "points at home; turns a two-goal deficit around; goes top of the table",
        "a goalless first half; a red card; a controversial video review",
    ),
    vocabulary(
        "sports",
        "tennis",
        "top seed/the grand slam draw; qualifier/the surprise of the tournament; doubles pair/the doubles "
        "final; left-handed veteran/the farewell tour; clay court specialist/the clay season; junior "
        "champion/tennis talents",
        "wins in straight sets; saves three match points; retires with a wrist injury; loses the "
        "tie-break; reaches the quarter-finals; hits {n} aces",
        "a rain delay; a five-set thriller; a long injury break",
    ),
    vocabulary(
        "sports",
        "cycling",
        "climbing specialist/the mountain stage; sprint specialist/the bunch sprint; race leader/the "
        "leader's jersey; time trial champion/the time trial; track cyclist/the velodrome; cycling "
        "captain/the doping test",
        "attacks on the final climb; crashes on a wet descent; wins the stage by seconds; loses the "
        "leader's jersey; breaks away from the peloton; sets an hour record",
        "a crash in the peloton; a day of crosswinds; a puncture near the finish",
    ),
    vocabulary(
        "sports",
        "basketball",
        "point guard/the play-offs; rookie centre/the rookie season; basketball coach/defence under "
        "pressure; shooting guard/three-point shooting; visiting team/the away series; league "
        "commissioner/the draft",
        "scores {n} points; sinks the winning three-pointer at the buzzer; sits out with an ankle injury; "
        "wins in overtime; blows a big lead; ends a losing streak",
        "a triple overtime; a trade before the deadline; a technical foul",
    ),
    vocabulary(
        "travel",
        "city_trips",
        "night train/a weekend by night train; old town hotel/hotels in the old town; city guide/walks "
        "through the city; museum pass/museums for free; food market/street food markets; rooftop "
        "bar/bars with a view",
        "makes the perfect weekend; surprises even the locals; costs less in winter; leads visitors off "
        "the beaten track; reopens for travellers; fits into {n} hours",
        "a complete renovation; a quiet season; a rise in hotel prices",
    ),
    vocabulary(
        "travel",
        "beaches",
        "island ferry/island hopping; beach resort/all-inclusive resorts; surf school/learning to surf; "
        "diving base/snorkelling and diving; lighthouse hotel/sleeping by the sea; fishing village/the "
        "quiet coast",
        "opens early this summer; attracts families with small children; offers sun in the low season; "
        "limits the number of visitors; promises empty beaches; sets sail again",
        "a mild spring; a ban on cruise ships; a storm that moved the sand",
    ),
    vocabulary(
        "travel",
        "hiking",
        "mountain hut/hut to hut tours; long-distance trail/the long-distance trail; national "
        "park/wildlife in the national park; ski resort/skiing without crowds; glacier route/glacier "
        "tours; pilgrims' way/the pilgrims' way",
        "welcomes hikers again; attracts more walkers than ever; invites beginners; stays closed until "
        "the snow melts; shows its best side in autumn; limits visitors to {n}0 a day",
        "a winter with much snow; a rockslide; the opening of a footbridge over the gorge",
    ),
    vocabulary(
        "travel",
        "air_travel",
        "budget airline/cheap flights; airport operator/queues at security; cabin crew/cabin baggage; "
        "flight booking site/flight prices; lost luggage desk/lost suitcases; new long-haul "
        "route/long-haul flights",
        "adds flights for the holidays; raises fees for baggage; cancels {n} flights; shortens the "
        "check-in; asks passengers for patience; cuts legroom again",
        "a strike of ground staff; a snowstorm at the hub; a computer failure",
    ),
    vocabulary(
        "food",
        "recipes",
        "lentil soup/soups for cold days; lemon chicken/one-pan dinners; potato gratin/cooking with "
        "potatoes; mushroom risotto/risotto; tomato pasta/pasta sauces; vegetable curry/curry for "
        "weeknights",
        "is ready in {n} minutes; tastes even better the next day; needs only five ingredients; warms up "
        "the coldest evening; gets its flavour from roasted garlic; feeds the whole family",
        "a visit to the weekly market; a reader's tip; a long day at work",
    ),
    vocabulary(
        "food",
        "baking",
        "sourdough loaf/sourdough bread; apple pie/apple pies; cinnamon bun/yeast dough; "
        "cheesecake/cheesecake without cracks; village bakery/old-fashioned bakeries; chocolate "
        "cookie/crisp cookies",
        "comes out of the oven golden; rises without effort; wins the bakers' prize; forgives every "
        "mistake; needs a night in the fridge; smells of butter and vanilla",
        "{n} test batches; a shortage of butter; a grandmother's handwritten recipe",
    ),
    vocabulary(
        "food",
        "restaurants",
        "young chef/tasting menus; noodle bar/noodle soups; pizzeria/the best pizza in town; vegan "
        "bistro/vegan cooking; harbour restaurant/grilled fish; corner cafe/breakfast out",
        "earns its first star; opens a second dining room; serves lunch at fair prices; divides our "
        "critic; closes its kitchen for good; puts {n} dishes on a tiny menu",
        "a rave review; a year of renovation; a change of owners",
    ),
    vocabulary(
        "food",
        "drinks",
        "winemaker/the new vintage; craft brewery/craft beer; coffee roaster/coffee beans; tea "
        "grower/green tea; bartender/cocktails without alcohol; cider press/cider",
        "presents an excellent year; experiments with old barrels; pours a lighter style; wins gold at a "
        "blind tasting; explains how to taste; sells out within {n} days",
        "a late frost; a blind tasting; a bumper harvest",
    ),
    vocabulary(
        "weather",
        "storms",
        "winter storm/the winter storm; hurricane/the hurricane season; thunderstorm front/thunderstorms "
        "and hail; tornado/tornadoes; gale/storm warnings; blizzard/power cuts in the storm",
        "moves towards the coast; leaves {n}000 homes without power; weakens over land; uproots trees and "
        "tears off roofs; keeps rescue crews busy; gathers strength overnight",
        "a night of heavy gusts; a sudden drop in pressure; an unusually warm sea",
    ),
    vocabulary(
        "weather",
        "floods",
        "swollen river/the flooded river; full reservoir/the dam above the valley; flood wave/the "
        "evacuation of the valley; broken dyke/sandbags and dykes; band of heavy rain/days of heavy rain; "
        "mountain stream/flooded fields",
        "threatens the lower town; forces families from their homes; keeps the valley on flood alert; "
        "turns streets into canals; closes the railway line; slowly loses its terror",
        "five days of rain; a rapid snow melt; a night of cloudbursts",
    ),
    vocabulary(
        "weather",
        "heat_and_cold",
        "heatwave/the heatwave; cold snap/the cold snap; drought/the drought; tropical night/cool places "
        "in the city; late frost/frost in the orchards; warm spell/temperature records",
        "breaks a {n}-year record; holds on until the weekend; worries fruit growers; surprises "
        "forecasters; ends with a change of wind; drives up demand for power",
        "weeks without rain; a shift of the jet stream; a clear and windless night",
    ),
    vocabulary(
        "weather",
        "forecast",
        "weekend/the weather at the weekend; start of the week/the ten-day forecast; foggy morning/fog in "
        "the valleys; round of fresh snow/fresh snow; spell of sunshine/sunny spells; pollen "
        "season/pollen and hay fever",
        "brings sunshine and clouds; turns milder in the south; lasts longer than forecast; stays "
        "friendly in the north; calls for an umbrella; ends with scattered showers",
        "a grey week; a change in the wind; a passing cold front",
    ),
    vocabulary(
        "autos",
        "electric_cars",
        "electric hatchback/small electric cars; battery factory/car batteries; charging network/charging "
        "stations; electric van/electric delivery vans; used electric car/used electric cars; range "
        "test/range in winter",
        "charges in {n} minutes; falls short of its promised range; gets cheaper; beats petrol rivals in "
        "our test; sells better than expected; comes with a smaller battery",
        "a cut in subsidies; a winter range test; a price war",
    ),
    vocabulary(
        "autos",
        "road_tests",
        "family estate car/estate cars; compact suv/compact SUVs; roadster/convertibles; pickup "
        "truck/pickup trucks; hybrid saloon/hybrid cars; camper van/camper vans",
        "impresses on twisty roads; drinks less fuel than expected; annoys with its touchscreen; has room "
        "for five; brakes late in the wet; ages well after {n}0,000 kilometres",
        "a facelift; {n} weeks of testing; a change of engines",
    ),
    vocabulary(
        "autos",
        "motor_racing",
        "pole-sitter/the grand prix; rally driver/the gravel rally; pit crew/pit stops; endurance "
        "team/the 24-hour race; rookie racing driver/the rookie's first podium; motorcycle racer/the "
        "motorcycle championship",
        "wins from the back of the grid; retires with engine failure; gambles on wet tyres; takes pole "
        "position; crashes out on the last lap; sets the fastest lap",
        "a safety car period; a penalty for speeding in the pit lane; a collision at the first corner",
    ),
    vocabulary(
        "autos",
        "traffic",
        "city toll/road tolls; bicycle lane/bicycle lanes; motorway bridge/the closed motorway bridge; "
        "speed camera/speed limits; parking zone/parking fees; bus lane/rush hour",
        "divides the neighbourhood; slows down traffic in the centre; comes back after {n} months; stays "
        "despite protests; shortens the way to work; disappears next year",
        "a lorry fire in the tunnel; {n} months of roadworks; a dispute over speed limits",
    ),
    vocabulary(
        "arts",
        "books",
        "debut novelist/the debut novel; crime writer/crime novels; poet/poems for every day; "
        "biographer/the art of biography; independent bookshop/independent bookshops; children's "
        "author/picture books",
        "wins the book prize; tops the bestseller list; turns a family secret into fiction; reads to a "
        "full house; returns after ten years of silence; sends a detective to the provinces",
        "a rejected manuscript; a public reading; a heated panel of critics",
    ),
    vocabulary(
        "arts",
        "theatre",
        "stage director/the season's opening night; ballet company/modern ballet; understudy/the leading "
        "role; puppet theatre/puppet theatre; improv group/improvised comedy; open-air stage/theatre in "
        "the open air",
        "gets a standing ovation; moves a classic into an office; cancels the premiere; casts against "
        "type; sells out every night; dares a five-hour evening",
        "a stormy rehearsal; a cut in funding; a power failure in the second act",
    ),
    vocabulary(
        "arts",
        "exhibitions",
        "sculptor/sculptures in the park; photo gallery/street photography; portrait painter/portraits; "
        "museum of modern art/abstract painting; textile artist/woven art; street artist/murals",
        "shows early work for the first time; fills an empty factory; puzzles visitors; draws record "
        "crowds; lends {n} paintings; plays with light and shadow",
        "a generous donation; a dispute over a loan; a fire in the studio",
    ),
    vocabulary(
        "arts",
        "games",
        "board game designer/board games; indie game studio/indie games; chess grandmaster/chess "
        "openings; puzzle editor/crosswords; esports team/the esports final; role-playing "
        "group/role-playing games",
        "wins over the jury; makes losing fun; delays its release; keeps players awake; invents a clever "
        "twist; ends in a draw after {n} moves",
        "a crowdfunding campaign; a night of play-testing; a surprise defeat",
    ),
    vocabulary(
        "screen",
        "films",
        "science fiction film/science fiction in the cinema; first-time film director/the directing "
        "debut; romantic comedy/romantic comedies; documentary maker/documentaries; animation "
        "studio/animated films; horror film/horror films",
        "opens the film festival; fails at the box office; moves the audience to tears; splits critics; "
        "gets a sequel; surprises with its ending",
        "a troubled shoot; a festival premiere; a change of lead actor",
    ),
    vocabulary(
        "screen",
        "series",
        "crime series/crime series; hospital drama/hospital dramas; period drama/costume dramas; "
        "sitcom/sitcoms; fantasy series/fantasy epics; spy thriller/spy thrillers",
        "returns for a final season; ends with a cliffhanger; loses its main character; is worth a binge; "
        "runs out of ideas; finds its feet in episode {n}",
        "a writers' dispute; a two-year break; a leaked script",
    ),
    vocabulary(
        "screen",
        "reality_tv",
        "talent show/the talent show; cooking contest/television cooking contests; quiz champion/quiz "
        "shows; dating show/dating shows; dance contest/the dance floor final; talk show host/late-night "
        "television",
        "crowns a winner; votes out a favourite; loses viewers; changes its jury; causes a row on social "
        "media; gives away a record prize",
        "a tearful final; a judging mistake; a public vote",
    ),
    vocabulary(
        "music",
        "pop",
        "pop singer/the stadium tour; boy band/the reunion; songwriter/the song of the summer; girl "
        "group/the comeback album; producer of hits/studio tricks; talent from the suburbs/bedroom pop",
        "announces a stadium tour; tops the charts; cancels two concerts; drops a surprise album; sings "
        "about heartbreak; sells {n}0,000 tickets in a day",
        "a viral video; a break-up; a year off the stage",
    ),
    vocabulary(
        "music",
        "classical",
        "string quartet/string quartets; opera singer/the opera premiere; young conductor/the symphony "
        "orchestra; pianist/the piano recital; organ builder/church organs; boys' choir/choral music",
        "enchants the concert hall; records a forgotten symphony; takes over the orchestra; plays from "
        "memory; replaces a sick soloist; closes the festival with a requiem",
        "a rediscovered score; a broken string; an ovation of {n} minutes",
    ),
    vocabulary(
        "music",
        "rock_and_jazz",
        "guitar band/guitar rock; jazz trio/jazz clubs; drummer/drum solos; punk veteran/punk at sixty; "
        "blues festival/the blues festival; saxophonist/the saxophone",
        "plays the club where it all began; releases a live album; goes louder than ever; parts ways with "
        "its label; improvises until midnight; brings back vinyl",
        "a stolen guitar; a rained-out festival; {n} years on the road",
    ),
    vocabulary(
        "homes",
        "gardening",
        "tomato plant/growing tomatoes; climbing rose/pruning roses; balcony garden/plants for the "
        "balcony; allotment/allotment gardens; bee meadow/bees in the garden; garden hedge/hedges and "
        "shrubs",
        "survives the winter; thrives without pesticides; needs cutting before spring; blooms until "
        "October; attracts butterflies; starts the season early",
        "a dry spring; a plague of snails; a late ground frost",
    ),
    vocabulary(
        "homes",
        "interior",
        "tiny flat/living in a tiny flat; old farmhouse/renovating an old farmhouse; attic bedroom/the "
        "space under the roof; hallway/light in the hallway; open kitchen/open kitchens; garden "
        "studio/vintage furniture",
        "makes the most of {n} square metres; gets a new coat of paint; becomes warm and bright; hides "
        "its storage cleverly; mixes old and new furniture; proves that less is more",
        "a year of renovation; a flea market find; a burst pipe",
    ),
    vocabulary(
        "homes",
        "property",
        "first-time buyer/the first mortgage; landlord/rents in the city; estate agent/house prices; "
        "building society/mortgage rates; housing cooperative/cooperative housing; developer of flats/new "
        "apartment blocks",
        "waits for lower prices; sees rents rise by {n} per cent; turns away from the city centre; bets "
        "on the suburbs; signs at the top of the market; postpones a building project",
        "a rise in mortgage rates; a new rent cap; a building boom",
    ),
    vocabulary(
        "homes",
        "pets",
        "rescue dog/dogs from the shelter; house cat/indoor cats; guinea pig/adopting a pet; old "
        "tomcat/visits to the vet; parrot/talking parrots; pony/ponies for children",
        "finds a new home; learns a new trick; comes home after {n} days; gets better food; hates "
        "fireworks; wins hearts at the shelter",
        "a frightening thunderstorm; a long search; a visit to the vet",
    ),
)
